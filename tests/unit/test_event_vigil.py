"""collector.inputs.event_vigil: what is noticed of probes, and when they are replaced."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import msgpack
import pytest

from collector.inputs.event_heartbeat import PROVABLE
from collector.inputs.event_vigil import Patience, Trouble, Vigil, notice
from collector.native.event_kinds import Kind
from collector.native.events import Heartbeat
from collector.native.limits import OTHER_CGROUPS, Suppressed
from collector.notice_fields import PROBES, PROBES_FIELDS
from collector.service.metrics import Metrics
from collector.service.table import TABLE
from probes.catalog import HOOKS
from probes.launch import HookReport

INTERVAL_S = 10.0
OWN, ANOTHER = 7, 8


@dataclass
class Surroundings:
    """Probes and a ring that do what the test says."""

    hooks: tuple[HookReport, ...] = tuple(
        HookReport(hook.subject, hook.tracepoint, hook.kinds, "attached", "", "", None) for hook in HOOKS
    )
    gone_hooks: tuple[str, ...] = ()
    expected: list[Heartbeat] = field(default_factory=list)
    arrives: frozenset[Kind] = PROVABLE
    fill_bytes: tuple[int, ...] = (0, 0)
    own_cgroup_id: int = OWN

    def gone(self) -> tuple[str, ...]:
        return self.gone_hooks

    def expect(self, heartbeat: Heartbeat) -> None:
        self.expected.append(heartbeat)

    def heard(self) -> frozenset[Kind]:
        return self.arrives


class Rig:
    def __init__(self, interval_s: float = INTERVAL_S) -> None:
        self.around = Surroundings()
        self.metrics = Metrics(TABLE)
        log = logging.getLogger("podwitness.ebpf.0")
        self.vigil = Vigil(interval_s, self.around, self.around, self.metrics, log, now_s=100.0)

    def beat(
        self,
        now_s: float,
        *,
        was_lost: bool = False,
        drained_bytes: Sequence[int] = (0, 0),
        suppressed: Suppressed | None = None,
    ) -> Trouble | None:
        """One heartbeat, its child's end, and a drain."""
        trouble = self.vigil.tick(now_s, was_lost=False)
        child = self.around.expected[-1].pid if self.around.expected else 0
        if child:
            os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
        self.vigil.note_suppressed(suppressed or {})
        trouble = trouble or self.vigil.tick(now_s + 1, was_lost=was_lost)
        self.vigil.read(now_s + 1.5, drained_bytes)
        return trouble or self.vigil.tick(now_s + 2, was_lost=False)

    def missed(self, kind: Kind) -> float:
        return self.metrics.value("podwitness_heartbeats_missed_total", kind.label)


@pytest.fixture
def rig() -> Rig:
    return Rig()


def test_what_arrives_proves_the_probes(rig: Rig) -> None:
    assert not rig.vigil.is_proven
    assert rig.beat(100) is None
    assert rig.vigil.is_proven
    made, over = rig.around.expected
    assert made.pid
    assert made.port
    assert over == Heartbeat()  # the pid may be another's now
    assert rig.metrics.value("podwitness_heartbeat_age_seconds", "exec") < 102


def test_three_in_a_row_are_trouble_of_their_hooks(rig: Rig) -> None:
    assert rig.beat(100) is None
    rig.around.arrives = PROVABLE - {Kind.EXIT, Kind.LISTEN}
    assert rig.beat(110) is None
    assert rig.beat(120) is None
    trouble = rig.beat(130)
    assert trouble is not None
    assert (trouble.action, trouble.hooks) == (
        "heartbeat-missing",
        ("sched_process_exit", "inet_sock_set_state"),
    )
    assert not rig.vigil.is_proven
    assert (rig.missed(Kind.EXIT), rig.missed(Kind.LISTEN), rig.missed(Kind.EXEC)) == (3, 3, 0)


def test_where_records_were_lost_a_missing_one_proves_nothing(rig: Rig) -> None:
    rig.around.arrives = frozenset()
    for now_s in range(100, 160, 10):
        assert rig.beat(now_s, was_lost=True) is None
    assert rig.missed(Kind.EXEC) == 0
    assert not rig.vigil.is_proven


FORKS = Counter({Kind.FORK: 50, Kind.EXIT: 1})


@pytest.mark.parametrize("suppressed", [{OWN: FORKS}, {OTHER_CGROUPS: FORKS}], ids=["own", "shared"])
def test_what_a_limit_may_have_kept_back_proves_nothing(rig: Rig, suppressed: Suppressed) -> None:
    rig.around.arrives = PROVABLE - {Kind.FORK, Kind.EXEC}
    for now_s in (100, 110):
        assert rig.beat(now_s, suppressed=suppressed) is None
    assert (rig.missed(Kind.FORK), rig.missed(Kind.EXEC)) == (0, 2)
    assert not rig.vigil.is_proven
    trouble = rig.beat(120, suppressed=suppressed)
    assert trouble is not None
    assert trouble.hooks == ("sched_process_exec",)


def test_a_limit_of_another_cgroup_is_no_excuse(rig: Rig) -> None:
    rig.around.arrives = PROVABLE - {Kind.FORK}
    rig.beat(100, suppressed={ANOTHER: FORKS})
    assert rig.missed(Kind.FORK) == 1


def test_until_the_own_cgroup_is_known_it_may_be_any(rig: Rig) -> None:
    rig.around.arrives, rig.around.own_cgroup_id = frozenset(), 0
    rig.beat(100, suppressed={ANOTHER: FORKS})
    assert (rig.missed(Kind.FORK), rig.missed(Kind.EXEC)) == (0, 1)


def test_what_was_suppressed_before_a_heartbeat_is_no_excuse_for_it(rig: Rig) -> None:
    rig.around.arrives = PROVABLE - {Kind.FORK}
    rig.vigil.note_suppressed({OWN: FORKS})
    rig.beat(100)
    assert rig.missed(Kind.FORK) == 1


def test_nothing_is_missing_before_the_ring_was_read_that_far(rig: Rig) -> None:
    rig.around.arrives = frozenset()
    rig.around.fill_bytes = (1000, 500)
    rig.beat(100, drained_bytes=(999, 5000))
    assert rig.missed(Kind.EXEC) == 0
    rig.vigil.read(103, (1, 0))
    assert rig.missed(Kind.EXEC) == 1
    rig.vigil.close()


def test_detached_probes_are_trouble_at_once(rig: Rig) -> None:
    rig.beat(100)
    rig.around.gone_hooks = ("cgroup_mkdir",)
    assert rig.vigil.tick(105, was_lost=False) is None  # looked at with each heartbeat
    trouble = rig.vigil.tick(110, was_lost=False)
    assert trouble == Trouble("probes-detached", ("cgroup_mkdir",), since_s=100)
    assert "cgroup_mkdir" in trouble.reason


def test_an_interval_of_0_looks_at_nothing() -> None:
    rig = Rig(interval_s=0)
    rig.around.gone_hooks = ("cgroup_mkdir",)
    assert rig.beat(100) is None
    assert rig.around.expected == []
    assert rig.vigil.is_proven


def test_hooks_that_never_were_attached_are_not_missed() -> None:
    rig = Rig()
    failed = [hook._replace(state="failed") for hook in rig.around.hooks if hook.subject == "process"]
    rig.around.hooks = (*failed, *(hook for hook in rig.around.hooks if hook.subject != "process"))
    log = logging.getLogger("podwitness.ebpf.0")
    vigil = Vigil(INTERVAL_S, rig.around, rig.around, rig.metrics, log, now_s=0)
    vigil.tick(0, was_lost=False)
    assert rig.around.expected[0].pid == 0
    assert rig.around.expected[0].port


def test_patience_grows_while_replacing_does_not_help() -> None:
    patience = Patience()
    assert patience.is_over(0)
    patience.replaced(0)
    assert (patience.is_over(59), patience.is_over(60)) == (False, True)
    patience.replaced(60)
    assert (patience.is_over(179), patience.is_over(180)) == (False, True)
    patience.helped()
    assert patience.is_over(61)


@pytest.mark.parametrize("action", PROBES)
def test_notices_have_the_fields_of_the_table(action: str) -> None:
    raw = notice(action, "why", ("sched_process_exec",), "ebpf.0", "node1", 0, 5 * 10**9)
    _, record = msgpack.unpackb(raw)
    names = {f"{top}.{name}" for top in ("event", "host") for name in record[top]}
    names |= {f"podwitness.probes.{name}" for name in record["podwitness"]["probes"]}
    assert names == {row.name for row in PROBES_FIELDS}
    assert record["event"]["start"] == "1970-01-01T00:00:00.000+00:00"
    assert record["event"]["end"] == "1970-01-01T00:00:05.000+00:00"
