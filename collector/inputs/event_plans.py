"""Whose events these are, as constant pairs: the identity's fields, then what the filters fold in."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from collector import own_log
from collector.identity.identity import Identity
from collector.native.containers import FRAGMENT_BYTES_MOST, Fragment
from collector.native.event_kinds import Scope
from collector.packing import pack
from collector.plan import EventPlan, Field, Op
from collector.records import ECS_VERSION, TOP_LEVEL_KEYS

if TYPE_CHECKING:
    from collector.filters.chain import FilterChain, Rest

log = own_log.part("ebpf")

# Containers of a node and its host, with room for what comes and goes.
PLANS_REMEMBERED = 1024


class SubjectPlan(NamedTuple):
    """How one subject's events of one container are encoded; `rest` are filters that must see each record."""

    fragment: Fragment
    rest: Rest
    identity: Identity | None  # None: it could not be found out


def scope_of(identity: Identity | None) -> Scope:
    if identity is None:
        return Scope.UNRESOLVED
    if identity.container_id:
        return Scope.CONTAINER
    return Scope.HOST if identity.is_host else Scope.POD


def identity_fields(identity: Identity) -> tuple[Field, ...]:
    """Top-level pairs that say whose an event is (collector.records.IDENTITY_FIELDS)."""
    maps: tuple[tuple[str, dict[str, Any]], ...] = (
        ("ecs", {"version": ECS_VERSION}),
        ("host", {"name": identity.node}),
        ("container", identity.container()),
        ("kubernetes", identity.kubernetes()),
        ("orchestrator", _orchestrator(identity)),
    )
    return tuple(Field(Op.APPEND, key, value) for key, value in maps if value)


@lru_cache(PLANS_REMEMBERED)
def target_fragment(identity: Identity) -> Fragment:
    """Pairs of `podwitness.privilege.target`: whose process it was done to. Filters don't change them."""
    container, pod = identity.container(), identity.kubernetes()
    maps = (
        ("container", {key: container[key] for key in ("id", "name") if key in container}),
        ("kubernetes", {key: pod[key] for key in ("pod_name", "namespace_name", "pod_id") if key in pod}),
    )
    scope = scope_of(identity)
    pairs = [("scope", scope.name.lower()), *((key, value) for key, value in maps if value)]
    packed = b"".join(pack(key) + pack(value) for key, value in pairs)
    return Fragment(packed, len(pairs), scope, int(identity.container_id[:16] or "0", 16))


def _orchestrator(identity: Identity) -> dict[str, Any]:
    if not identity.pod_uid and not identity.pod_name:
        return {}
    pod = (("name", identity.pod_name), ("id", identity.pod_uid))
    resource = {"type": "pod", **{key: value for key, value in pod if value}}
    namespace = {"namespace": identity.namespace} if identity.namespace else {}
    return {"type": "kubernetes", **namespace, "resource": resource}


def constant_pairs(steps: Sequence[Field]) -> list[tuple[str, Any]]:
    """The pairs that the steps leave, each key once. Raises ValueError for a key of the records' own."""
    pairs: dict[str, Any] = {}
    for step in steps:
        if step.key in TOP_LEVEL_KEYS:
            raise ValueError(f"{step.key} is a key of the events themselves: the filter can't be folded")
        if step.op is Op.ADD and step.key in pairs:
            continue
        pairs.pop(step.key, None)
        if step.op is not Op.REMOVE:
            pairs[step.key] = step.value
    return list(pairs.items())


def pack_fragment(pairs: Sequence[tuple[str, Any]], scope: Scope) -> tuple[Fragment, tuple[str, ...]]:
    """The pairs ready for the encoder, and the keys left out, largest first, because they did not fit."""
    packed = {key: pack(key) + pack(value) for key, value in pairs}
    left_out: list[str] = []
    while sum(map(len, packed.values())) > FRAGMENT_BYTES_MOST:
        largest = max(packed, key=lambda key: len(packed[key]))
        del packed[largest]
        left_out.append(largest)
    return Fragment(b"".join(packed.values()), len(packed), scope), tuple(left_out)


class Planner:
    """Plans of one subject. The same identity gives the same plan without working it out again."""

    def __init__(self, tag: str, chain: FilterChain, node: str) -> None:
        self.tag = tag
        self._chain = chain
        self._node = node
        self.plan = lru_cache(PLANS_REMEMBERED)(self._plan)

    def forget(self) -> None:
        """The filters are others now."""
        self.plan.cache_clear()

    def _plan(self, identity: Identity | None) -> SubjectPlan:
        """What filters fold for an unknown container is what they fold for the node itself."""
        known = identity or Identity(self._node)
        folded, rest = self._chain.event_plan(self.tag, EventPlan(identity_fields(known)), known)
        fragment, left_out = pack_fragment(constant_pairs(folded.steps), scope_of(identity))
        if left_out:
            log.warning(
                "events of %s/%s go without %s: more than %d bytes that are the same in each",
                *(known.namespace, known.pod_name, ", ".join(left_out), FRAGMENT_BYTES_MOST),
            )
        return SubjectPlan(fragment, rest, identity)
