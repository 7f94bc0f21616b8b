"""The filter kubernetes as it is made of a configuration, with the pods of a recorded cluster known."""

from __future__ import annotations

import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from collector.config.document import load_file
from collector.config.schema import load
from collector.config.sections import Entry, Section
from collector.context import Context
from collector.filters.kubernetes import Kubernetes, Settings, make
from collector.identity.identity import Identity
from collector.identity.table import IdentityTable
from collector.kubernetes.objects import Pod, read_list
from collector.plan import Framing, Layout, LogPlan
from collector.plugin import LogSource
from collector.record import Record
from collector.service.metrics import Metrics
from collector.service.table import TABLE
from tests.api_server import GOLDEN, ApiServer

PODS = {pod.name: pod for pod in read_list((GOLDEN / "pods.json").read_bytes()).objects}
WEB = PODS["web-5c8c56666c-8w7j8"]
ID = "13cdfb4a12a5278da19acfa2eca5abca0f87f564a41be8d6ee75170063e41c51"
LINES = LogPlan(Framing.LINE, Layout())
PARSERS = r"""
[PARSER]
    Name kv
    Format logfmt
[PARSER]
    Name timed
    Format regex
    Regex ^(?<t>\S+) (?<rest>.*)$
    Time_Key t
    Time_Format %s
[PARSER]
    Name names
    Format regex
    Regex ^(?<namespace_name>[^.]+)\.(?<pod_name>.+)$
"""
CONFIGURATION = """
[SERVICE]
    Parsers_File {}/parsers.conf
[INPUT]
    Name dummy
[OUTPUT]
    Name null
    Match *
"""
Pairs = list[tuple[Any, Any]]


def tag_of(pod: Pod, container: str) -> str:
    return f"kube.var.log.containers.{pod.name}_{pod.namespace}_{container}-{ID}.log"


WEB_TAG = tag_of(WEB, "httpd")


class House:
    """The filter as it is made of a configuration."""

    def __init__(self, tmp_path: Path, *pairs: tuple[str, str], url: str = "http://127.0.0.1:9") -> None:
        (tmp_path / "parsers.conf").write_text(PARSERS)
        (tmp_path / "a.conf").write_text(CONFIGURATION.format(tmp_path))
        pairs = (("Kube_URL", url), ("Kube_Token_File", str(tmp_path / "token")), *pairs)
        entries = tuple(Entry(name, value, "a.conf", line) for line, (name, value) in enumerate(pairs, 2))
        section = Section("FILTER", "a.conf", 1, entries)
        self.identities = IdentityTable("node1", cast(Any, None), cast(Any, None), None)
        self.metrics = Metrics(TABLE)
        self.reports: list[tuple[str, bool, str]] = []
        context = SimpleNamespace(
            plugin=SimpleNamespace(section=section, matches=lambda tag: tag.startswith("kube.")),
            document=load_file(str(tmp_path / "a.conf"), {}),
            name="kubernetes.0",
            node="node1",
            log=logging.getLogger("t"),
            metrics=self.metrics,
            identities=self.identities,
            report=lambda *what: self.reports.append(what),
        )
        made = make(load(Settings, section), cast(Context, context))
        assert isinstance(made, Kubernetes)
        self.filter = made
        for pod in PODS.values():
            self.identities.pods.take(pod)

    def take(self, pod: Pod) -> None:
        self.identities.pods.take(pod)

    def apply(self, tag: str, pairs: Pairs, identity: Identity | None = None) -> Pairs | None:
        made = self.filter.apply_batch(tag, [Record(pairs, 7)], identity, lambda *_: None)
        return made[0].pairs if made else None

    def fold(self, tag: str, identity: Identity | None = None) -> LogPlan | None:
        return self.filter.fold_log(LINES, LogSource(tag, "/x", identity))

    def misses(self, cause: str) -> float:
        return self.metrics.value("podwitness_kubernetes_misses_total", "kubernetes.0", cause)


def wanting(server: ApiServer, tmp_path: Path, *pairs: tuple[str, str]) -> House:
    house = House(tmp_path, *pairs, url=server.url)
    for pod in PODS.values():
        house.identities.pods.take_gone(pod, -1e9)
    house.identities.pods.expire(0.0)
    assert not len(house.identities.pods)
    return house
