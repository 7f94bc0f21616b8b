"""`[FILTER] Name kubernetes`: whose log it is, and JSON logs lifted into the record.

As Fluent Bit's plugins/filter_kubernetes. Metadata are not asked for record by
record: a watch (collector/kubernetes) keeps them, and a log whose pod has become
another gets another plan. Where there is no API server to ask, the identity comes
from log paths, cgroups and the runtime (collector/identity).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from collector.accessor import names as is_named
from collector.config.onigmo import Pattern
from collector.config.parsers import find
from collector.entries import Pairs
from collector.errors import ConfigError
from collector.filters.kubernetes_annotations import NOTHING, Suggestions, suggestions, with_namespace
from collector.filters.kubernetes_map import Names, namespace_map, safe_map, strict_map, tag_map
from collector.filters.kubernetes_merge import joined, merged
from collector.filters.kubernetes_names import names_by
from collector.filters.kubernetes_settings import Settings
from collector.identity.identity import Identity
from collector.identity.paths import read_tag
from collector.kubernetes.cluster import Cluster
from collector.kubernetes.objects import Metadata, Pod
from collector.kubernetes.pods import Pods
from collector.kubernetes.preload import Preload
from collector.parsers.line import TextParser, text_parser
from collector.plan import EventPlan, Field, Framing, LogPlan, Merge, Op, Step
from collector.plugin import BatchFilter, Emit, LogSource
from collector.record import Record

if TYPE_CHECKING:
    from collector.context import Context

__all__ = ["SUMMARY", "Kubernetes", "Settings", "make"]

SUMMARY = "Adds the pod that a log line is from, and lifts JSON logs into the record."
KUBERNETES = "kubernetes"
NAMESPACE = "kubernetes_namespace"
_LOG = "log"  # Merge_Log looks at this key and no other
_JOURNAL_KEY = "CONTAINER_NAME"
_REMEMBERED = 4096

Miss = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Facts:
    """What is put to records of one container; `suggested` is what its pod asks for."""

    pairs: tuple[tuple[str, dict[str, Any]], ...] = ()
    suggested: Suggestions = NOTHING


class Kubernetes:
    """The filter of one section. What `fold_log` folds and `apply_batch` makes are the same records.

    `cluster` None: nobody is asked. `miss(cause)` counts what could not be put to records.
    """

    def __init__(
        self,
        settings: Settings,
        node: str,
        matches: Callable[[str], bool],
        *,
        pods: Pods | None = None,
        cluster: Cluster | None = None,
        pattern: Callable[[], Pattern] | None = None,
        merge_parser: TextParser | None = None,
        parser: Callable[[str], TextParser | None] = lambda name: None,
        miss: Miss = lambda cause: None,
        warn: Callable[[str], None] = lambda sentence: None,
    ) -> None:
        self.matches = matches
        self._settings = settings
        self._node = node
        self._pods = Pods() if pods is None else pods
        self._cluster = cluster
        self._preload = Preload(settings.kube_meta_preload_cache_dir) if _preloads(settings) else None
        self._asks = cluster is not None or self._preload is not None
        self._is_safe = settings.compat == "safe"
        self._names = lru_cache(_REMEMBERED)(lambda text: names_by(pattern() if pattern else None, text))
        self._merge_parser = merge_parser
        self._parser = parser
        self._miss = miss
        self._warn = lru_cache(_REMEMBERED)(warn)  # each sentence once
        allowed = (("parser", settings.k8s_logging_parser), ("exclude", settings.k8s_logging_exclude))
        self._allowed = tuple(what for what, is_allowed in allowed if is_allowed)
        self._merge: Merge | None = None
        if settings.merge_log:
            under, keep, trim = settings.merge_log_key, settings.keep_log, settings.merge_log_trim
            self._merge = Merge(_LOG, under, keep, trim)

    async def run(self, stop: asyncio.Event) -> None:
        if self._cluster is None:
            await stop.wait()
        else:
            await self._cluster.run(stop)

    # ---- waiting

    def is_waiting(self, source: LogSource, waited_s: float) -> bool:
        """Whether records of this log should wait for what is still to be learned of its pod."""
        if self._cluster is None or self._settings.use_journal or self._is_without_pod:
            return False
        names = self._names_of(source.tag, source.identity)
        if names is None:
            return False
        pod = self._pod(names, source.identity)
        status = pod.container(names.container_name) if pod else None
        is_known = status is not None and bool(status.container_id) and self._knows_namespace(names)
        return not is_known and self._cluster.is_waiting(waited_s)

    async def ready(self, tag: str) -> None:
        """Finds out about the pod of a tag that came from elsewhere, as far as that goes in a short while."""
        if self._cluster is None or self._settings.use_journal or self._is_without_pod:
            return
        names = self._names_of(tag, None)
        if names is not None and self._pod(names, None) is None:
            await self._cluster.find(names.namespace, names.pod_name)

    @property
    def _is_without_pod(self) -> bool:
        own = self._settings
        return own.dummy_meta or own.use_tag_for_meta or own.namespace_metadata_only

    def _knows_namespace(self, names: Names) -> bool:
        if not self._wants_namespace or self._cluster is None:
            return True
        self._namespace(names.namespace)
        return self._cluster.lookup.knows_namespace(names.namespace)

    # ---- plans

    def fold_log(self, plan: LogPlan, source: LogSource) -> LogPlan | None:
        """None where records have to be seen: one decides by its stream, is parsed, or keys may meet."""
        if self._settings.use_journal or self._settings.dummy_meta:
            return None
        facts = self._facts(self._names_of(source.tag, source.identity), source.identity)
        if facts is None:
            return plan
        if facts.suggested:
            return None
        steps: tuple[Step, ...] = ()
        if self._merge is not None and _may_have_log(plan):
            if plan.merges or self._merge_parser is not None or self._is_safe:
                return None
            steps += (self._merge,)
        own = tuple(Field(Op.APPEND, key, value) for key, value in facts.pairs)
        return plan.then(*steps, *(one for one in own if one not in plan.steps))

    def fold_event(self, plan: EventPlan, tag: str, identity: Identity) -> EventPlan | None:
        """Events have their identity from the input."""
        return plan

    # ---- records

    def apply_batch(
        self, tag: str, records: Sequence[Record], identity: Identity | None, emit: Emit
    ) -> list[Record]:
        if self._settings.dummy_meta:
            facts: Facts | None = Facts(((KUBERNETES, {"dummy": time.asctime()}),))
        elif not self._settings.use_journal:
            facts = self._facts(self._names_of(tag, identity), identity)
        else:
            return self._kept((one, self._journal_facts(one)) for one in records)
        return self._kept((one, facts) for one in records)

    def _kept(self, records: Any) -> list[Record]:
        now_ns = time.time_ns()
        made = (self._changed(record, facts, now_ns) if facts else record for record, facts in records)
        return [record for record in made if record is not None]

    def _journal_facts(self, record: Record) -> Facts | None:
        written = next((value for key, value in record.pairs if is_named(key, _JOURNAL_KEY)), None)
        names = self._names(written) if isinstance(written, str) else None
        return self._facts(names, None)

    def _changed(self, record: Record, facts: Facts, now_ns: int) -> Record | None:
        """None: the pod wants its record to be left out."""
        suggested = facts.suggested
        stream = _stream(record.pairs) if suggested else ""
        if suggested.excludes(stream):
            return None
        own = [pair for pair in facts.pairs if not _has(record.pairs, pair)]
        more: Pairs = []
        if self._merge is not None:
            parser = self._suggested_parser(suggested.parser(stream)) or self._merge_parser
            record, more = merged(record, self._merge, parser, now_ns)
        pairs, renamed = joined(record.pairs, more, is_unique=self._is_safe)
        pairs, clashes = joined(pairs, [*own], is_unique=self._is_safe)
        if renamed or clashes:
            self._miss("renamed")
        return record.like(pairs)

    def _suggested_parser(self, name: str) -> TextParser | None:
        return self._parser(name) if name else None

    # ---- facts

    def _names_of(self, tag: str, identity: Identity | None) -> Names | None:
        """Whose records a tag has; None: of no pod, they pass as they are."""
        knows_pod = identity is not None and bool(identity.pod_name)
        if knows_pod and (self._is_safe or not self._asks) and not self._settings.use_tag_for_meta:
            assert identity is not None
            return Names.of(identity)
        if identity is not None and not self._asks:
            return Names.of(identity) if identity.pod_uid else None
        length = len(self._settings.kube_tag_prefix)
        if not self._asks:
            link = read_tag(tag, length)
            if link is None:
                return None
            return Names(link.pod_name, link.namespace, link.container_name, link.container_id)
        return self._names(tag[length:]) if len(tag) > length + 1 else None

    def _facts(self, names: Names | None, identity: Identity | None) -> Facts | None:
        """None: the records pass as they are."""
        if names is None:
            return None
        if self._settings.use_tag_for_meta:
            return Facts(((KUBERNETES, tag_map(names)),))
        if not self._asks:
            own = self._map_of_node(names, identity)
            return Facts(((KUBERNETES, own),)) if own else None
        return self._facts_of_api(names, identity)

    def _map_of_node(self, names: Names, identity: Identity | None) -> dict[str, Any]:
        if identity is not None:
            return identity.kubernetes(self._settings.labels)
        return Identity(
            self._node,
            names.docker_id,
            namespace=names.namespace,
            pod_name=names.pod_name,
            container_name=names.container_name,
        ).kubernetes()

    def _facts_of_api(self, names: Names, identity: Identity | None) -> Facts:
        own: dict[str, Any] = {}
        suggested = NOTHING
        if not self._settings.namespace_metadata_only:
            pod = self._pod(names, identity)
            own = self._map(names, identity, pod)
            suggested = self._suggestions(names, pod)
        namespace = self._namespace(names.namespace) if self._wants_namespace else None
        if namespace is not None and self._settings.namespace_exclude:
            suggested = with_namespace(suggested, namespace.annotations)
        pairs = [(KUBERNETES, own)] if own else []
        if namespace is not None and self._settings.wants_namespace:
            pairs.append((NAMESPACE, namespace_map(names.namespace, namespace, self._settings)))
        return Facts(tuple(pairs), suggested)

    def _map(self, names: Names, identity: Identity | None, pod: Pod | None) -> dict[str, Any]:
        if pod is None:
            self._miss("pod")
        elif pod.container(names.container_name) is None:
            self._miss("container")
        if self._is_safe:
            workload = self._pods.workload(pod) if pod else None
            return safe_map(names, identity, pod, workload, self._settings)
        return strict_map(names, pod, self._settings) if pod else {}

    def _suggestions(self, names: Names, pod: Pod | None) -> Suggestions:
        if pod is None:
            return NOTHING
        found, ignored = suggestions(pod.annotations, names.container_name, self._allowed)
        for sentence in ignored:
            self._warn(f"pod {pod.name} of namespace {pod.namespace}: {sentence}.")
        known = {stream: name for stream, name in found.parsers.items() if self._is_parser(name, pod)}
        return Suggestions(known, found.excluded)

    def _is_parser(self, name: str, pod: Pod) -> bool:
        if self._parser(name) is not None:
            return True
        self._miss("parser")
        self._warn(
            f"pod {pod.name} of namespace {pod.namespace} asks for the parser {name!r}, which is not there."
        )
        return False

    def _pod(self, names: Names, identity: Identity | None) -> Pod | None:
        if self._preload is not None and (found := self._preload.pod(names.namespace, names.pod_name)):
            return found
        if identity is not None and identity.pod_uid:
            pod = self._pods.by_uid(identity.pod_uid)
            if pod is not None and (pod.namespace, pod.name) == (names.namespace, names.pod_name):
                return pod
        return self._pods.find(names.namespace, names.pod_name)

    @property
    def _wants_namespace(self) -> bool:
        return self._settings.wants_namespace or self._settings.namespace_exclude

    def _namespace(self, name: str) -> Metadata | None:
        if self._preload is not None and (found := self._preload.namespace(name)):
            return found
        return self._cluster.lookup.namespace(name) if self._cluster else None


def _preloads(settings: Settings) -> bool:
    return bool(settings.kube_meta_preload_cache_dir)


def _may_have_log(plan: LogPlan) -> bool:
    # Without a content key, a line that doesn't fit the framing is kept under `log`.
    if plan.framing is Framing.JSON or plan.layout.content in (_LOG, ""):
        return True
    return any(isinstance(step, Merge) or step.key == _LOG for step in plan.steps)


def _stream(pairs: Pairs) -> str:
    found = next((value for key, value in pairs if is_named(key, "stream")), "")
    return found if isinstance(found, str) else ""


def _has(pairs: Pairs, pair: tuple[str, dict[str, Any]]) -> bool:
    """Kernel events come with the map of their pod."""
    return any(is_named(key, pair[0]) and value == pair[1] for key, value in pairs)


def make(settings: Settings, context: Context) -> BatchFilter:
    """Raises ConfigError for a parser that is not there, or that can't be used."""
    from collector.filters.kubernetes_setup import cluster_of, pattern_of

    parsers = context.document.parsers
    try:
        pattern = pattern_of(settings, parsers)
        merge_parser = text_parser(find(settings.merge_parser, parsers)) if settings.merge_parser else None
    except ValueError as reason:
        raise ConfigError(f"{context.plugin.section.place}: {reason}") from None

    @lru_cache(64)
    def parser(name: str) -> TextParser | None:
        try:
            return text_parser(find(name, parsers))
        except ValueError:
            return None

    return Kubernetes(
        settings,
        context.node,
        context.plugin.matches,
        pods=context.identities.pods,
        cluster=cluster_of(settings, context),
        pattern=pattern,
        merge_parser=merge_parser,
        parser=parser,
        miss=lambda cause: context.metrics.add("podwitness_kubernetes_misses_total", context.name, cause),
        warn=lambda sentence: context.log.warning("%s", sentence),
    )
