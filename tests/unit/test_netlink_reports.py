"""collector.inputs.netlink_reports: whose an event is, by its cgroup, its path, or its network namespace."""

from __future__ import annotations

import os
import time
from collections.abc import Collection
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from collector.catalog import EVENTS
from collector.context import InputContext
from collector.entries import Pairs, unpack_entries
from collector.filters.chain import FilterChain
from collector.identity.identity import Identity
from collector.inputs.netlink_reports import ReportEncoder
from collector.plan import EventPlan, Field, Op
from collector.service.metrics import Metrics
from collector.service.table import TABLE
from probes.cgroup_paths import CgroupPaths
from probes.netlink_exchange import Report
from probes.netlink_processes import Process, Seen
from probes.netlink_sockets import SocketSeen
from probes.sock_diag import TcpSocket
from tests.reference.cgroups import CONTAINER_ID, CONTAINER_PATH, HOST_PATH, UID, Cgroups, identity_table

TOLD = [(event.subject, event.action) for event in EVENTS]
TAGS = {"process": "kernel.process", "network": "kernel.network"}
SOCKET = TcpSocket(1, 1, (b"\x7f\0\0\1", 80), (b"\x7f\0\0\1", 5000), 9, 0, 37, 5, None)


class Folded:
    """A filter that can be folded, and one that can't."""

    def __init__(self, is_constant: bool) -> None:
        self.is_constant = is_constant

    def matches(self, tag: str) -> bool:
        return tag == "kernel.process"

    def fold_log(self, *_: Any) -> None:
        return None

    def fold_event(self, plan: EventPlan, tag: str, identity: Identity) -> EventPlan | None:
        return plan.then(Field(Op.APPEND, "folded", identity.container_id)) if self.is_constant else None

    def apply(self, tag: str, record: Pairs, identity: Identity | None) -> Pairs | None:
        pid = dict(record)["process"]["pid"]
        return None if pid == 3 else [*record, ("seen", identity.container_id if identity else "nobody")]


class Rig:
    def __init__(
        self, *filters: Folded, cgroups: CgroupPaths | None = None, told: Collection[tuple[str, str]] = TOLD
    ) -> None:
        self.metrics = Metrics(TABLE)
        self.identities = identity_table(Cgroups({5: CONTAINER_PATH, 6: HOST_PATH}))
        context = SimpleNamespace(
            chain=FilterChain(filters),
            node="node1",
            node_id=b"\0" * 7 + b"\1",
            metrics=self.metrics,
            identities=self.identities,
        )
        self.encoder = ReportEncoder(cast(InputContext, context), TAGS, cgroups, told)

    def processes(self, *processes: Process) -> list[dict[str, Any]]:
        return self._records(Report(processes=[Seen("fork", 1, one, one.pid) for one in processes]))

    def sockets(self, *seen: SocketSeen) -> list[dict[str, Any]]:
        return self._records(Report(sockets=list(seen)))

    def _records(self, report: Report) -> list[dict[str, Any]]:
        found = self.encoder.encode(report)
        records = [dict(pairs) for one in found for _, pairs in unpack_entries(bytes(one.packed))]
        assert len(records) == sum(one.records for one in found)
        return records


def in_cgroup(cgroup_id: int, path: str = "", pid: int = 1) -> Process:
    return Process(pid, cgroup_id=cgroup_id, cgroup_path=path)


@pytest.mark.parametrize(
    ("process", "scope", "container"),
    [
        (in_cgroup(5), "container", CONTAINER_ID),
        (in_cgroup(6), "host", None),
        (in_cgroup(99, CONTAINER_PATH), "container", CONTAINER_ID),  # gone before it was asked for
        (in_cgroup(98, HOST_PATH), "host", None),
        (in_cgroup(97), "unresolved", None),
        (in_cgroup(0), "unresolved", None),
    ],
)
def test_by_the_cgroup_or_else_its_path(process: Process, scope: str, container: str | None) -> None:
    rig = Rig()
    (record,) = rig.processes(process)
    assert record["podwitness"]["scope"] == scope
    assert record.get("container", {}).get("id") == container
    assert record["host"] == {"name": "node1"}
    unresolved = rig.metrics.value("podwitness_kernel_events_unresolved_total")
    assert unresolved == (scope == "unresolved")
    assert rig.metrics.value("podwitness_kernel_events_total", "fork") == 1


def test_only_what_is_asked_for_is_told() -> None:
    rig = Rig(told=[("process", "exec"), ("network", "fork")])
    assert rig.processes(in_cgroup(5)) == []
    assert rig.metrics.value("podwitness_kernel_events_total", "fork") == 0


def test_a_container_that_is_known_without_its_cgroup() -> None:
    rig = Rig()
    rig.processes(in_cgroup(5))
    (record,) = rig.processes(in_cgroup(0, CONTAINER_PATH))
    assert record["podwitness"]["scope"] == "container"


def test_a_socket_known_by_its_namespace_is_the_pods(tmp_path: Path) -> None:
    (tmp_path / CONTAINER_PATH.strip("/")).mkdir(parents=True)
    pod_path = tmp_path / CONTAINER_PATH.strip("/").rpartition("/")[0]
    rig = Rig(cgroups=CgroupPaths(str(tmp_path)))
    by_namespace, by_itself = rig.sockets(
        SocketSeen("close", 1, 2, SOCKET, "client", cgroup_id=5, cgroup_path=CONTAINER_PATH),
        SocketSeen("close", 1, 2, SOCKET, "client", cgroup_id=5),
    )
    assert by_namespace["podwitness"]["scope"] == "pod"
    assert by_namespace["podwitness"]["cgroup_id"] == os.stat(pod_path).st_ino
    assert by_namespace["kubernetes"]["pod_id"] == UID
    assert "container" not in by_namespace
    assert by_itself["podwitness"]["scope"] == "container"


def test_filters_are_folded_or_see_the_records() -> None:
    (record,) = Rig(Folded(True)).processes(in_cgroup(5))
    assert record["folded"] == CONTAINER_ID
    records = Rig(Folded(False)).processes(*(in_cgroup(5, pid=pid) for pid in (1, 3, 4)), in_cgroup(0, pid=5))
    assert [(one["process"]["pid"], one["seen"]) for one in records] == [
        (1, CONTAINER_ID),
        (4, CONTAINER_ID),
        (5, "nobody"),
    ]


def test_a_step_of_the_clock_is_followed_and_noise_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = Rig()
    process = in_cgroup(5)._replace(start_ns=10)
    (first,), (second,) = rig.processes(process), rig.processes(process)
    assert first["process"]["start"] == second["process"]["start"]
    now = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: now() + 3600 * 10**9)
    (third,) = rig.processes(process)
    assert third["process"]["start"] > first["process"]["start"]
    assert third["process"]["entity_id"] == first["process"]["entity_id"]
