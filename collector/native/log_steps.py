"""A log plan's steps as the extension takes them: constants as msgpack, and what they mostly come to."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from collector.packing import pack
from collector.plan import Field, Framing, Layout, LogPlan, Merge, Op, Step


class Constant(NamedTuple):
    """Pairs in msgpack; more than one only where nothing looks at their keys."""

    op: Op
    key: str
    key_bytes: int
    packed: bytes
    pairs: int


# Framings whose records have no pairs but those that the layout names.
_FROM_TEXT = (Framing.LINE, Framing.CRI, Framing.CRI_JOINED)


def watched(plan: LogPlan) -> tuple[dict[str, int], int]:
    """The keys that steps look at, with their index, and how many of them may be a JSON object's.

    What is merged is only looked for in an object where the object is the record (docker's: all but its log).
    """
    fields = [step.key for step in plan.steps if isinstance(step, Field) and step.op != Op.APPEND]
    merged = [step.key for step in plan.steps if isinstance(step, Merge)]
    noted = dict.fromkeys(fields if plan.framing in _FROM_TEXT else fields + merged)
    return {key: index for index, key in enumerate(noted | dict.fromkeys(merged))}, len(noted)


def _constant(field: Field) -> Constant:
    key = pack(field.key)
    pair = b"" if field.op == Op.REMOVE else key + pack(field.value)
    return Constant(field.op, field.key, len(key), pair, 1)


def concatenated(steps: tuple[Step, ...], watches: dict[str, int]) -> list[Constant | Merge]:
    """The steps, neighbours that only append made one."""
    result: list[Constant | Merge] = []
    for step in steps:
        made = step if isinstance(step, Merge) else _constant(step)
        last = result[-1] if result else None
        if _only_appends(last, watches) and _only_appends(made, watches):
            assert isinstance(last, Constant)
            assert isinstance(made, Constant)
            result[-1] = last._replace(packed=last.packed + made.packed, pairs=last.pairs + made.pairs)
        else:
            result.append(made)
    return result


def _only_appends(step: Constant | Merge | None, watches: dict[str, int]) -> bool:
    return isinstance(step, Constant) and step.op == Op.APPEND and step.key not in watches


class Direct(NamedTuple):
    """What the steps come to for a record with the pairs of its layout and perhaps those of an object in its
    content, none of whose keys a step looks at: what is left of the layout, and pairs at the end."""

    layout: Layout
    merge: Merge | None
    tail: bytes
    tail_pairs: int


def direct(plan: LogPlan) -> Direct | None:
    """None: the steps have to be taken one by one for each record."""
    layout, steps = plan.layout, plan.steps
    if plan.framing not in (*_FROM_TEXT, Framing.CONTAINER_JOINED) or layout.offset:
        return None
    if plan.framing == Framing.LINE:
        layout = replace(layout, time="", stream="", logtag="")
    merge = steps[0] if steps and isinstance(steps[0], Merge) else None
    if merge:
        if merge.under or not layout.content or merge.key != layout.content:
            return None
        if layout.content in (layout.time, layout.stream, layout.logtag):
            return None
        steps = steps[1:]
    tail: list[Field] = []
    for step in steps:
        if isinstance(step, Merge):
            return None
        if step.op == Op.ADD:
            if merge and step.key == layout.content:
                return None  # it is there if nothing was merged
            if step.key in filter(None, _names(layout)) or any(one.key == step.key for one in tail):
                continue
        elif step.op != Op.APPEND:
            layout = _without(layout, step.key)
            tail = [one for one in tail if one.key != step.key]
        if step.op != Op.REMOVE:
            tail.append(step)
    return Direct(layout, merge, b"".join(pack(one.key) + pack(one.value) for one in tail), len(tail))


def _names(layout: Layout) -> tuple[str, ...]:
    return layout.time, layout.stream, layout.logtag, layout.content


def _without(layout: Layout, key: str) -> Layout:
    time, stream, logtag, content = ("" if name == key else name for name in _names(layout))
    return replace(layout, time=time, stream=stream, logtag=logtag, content=content)
