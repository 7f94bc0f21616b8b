"""collector.doctor.checks: facts on one side, what is said of them on the other."""

from __future__ import annotations

import errno
from dataclasses import replace
from typing import Any

import pytest

from collector.doctor.attempt import Attempt
from collector.doctor.checks import Row, examine
from collector.doctor.facts import Cgroups, Folder, Inotify, Socket
from collector.inputs.event_heartbeat import PROVABLE
from collector.native.event_kinds import Kind
from probes.catalog import HOOKS, Dialect
from probes.launch import HookReport
from tests.unit.doctor_facts import ATTEMPT, FACTS, HELD


def without(*names: str) -> Any:
    return HELD._replace(permitted=HELD.permitted - set(names))


def troubled(rows: list[Row]) -> dict[str, str]:
    return {row.check: row.finding.state for row in rows if row.finding.state != "works"}


def test_a_machine_where_all_is_well() -> None:
    rows = examine(FACTS, ATTEMPT)
    assert troubled(rows) == {}
    assert {hook.tracepoint for hook in HOOKS} <= {row.check for row in rows}
    assert len({(row.group, row.check) for row in rows}) == len(rows)
    assert not [row for row in rows if row.finding.remedy]


FAILS, LESSER = "fails", "lesser"
SPOILT = [
    ({"kernel": (5, 4), "release": "5.4.0"}, {"version": FAILS}, "5.4.0"),
    ({"btf_bytes": None}, {"types (BTF)": FAILS}, "/sys/kernel/btf/vmlinux"),
    ({"overlay_btf": False}, {"types of overlay": LESSER}, "overlay"),
    ({"lockdown": "confidentiality"}, {"lockdown": FAILS}, "confidentiality"),
    ({"unprivileged_bpf": "0"}, {"unprivileged bpf": LESSER}, "every user"),
    ({"jit": "0"}, {"just-in-time compiler": LESSER}, "interprets"),
    ({"is_first_user_namespace": False}, {"user namespace": FAILS}, "user namespace"),
    ({"held": without("BPF")}, {"BPF": LESSER}, "SYS_ADMIN stands in"),
    ({"held": without("BPF", "SYS_ADMIN")}, {"BPF": FAILS, "for netlink": LESSER}, "not held"),
    ({"held": without("DAC_READ_SEARCH")}, {"DAC_READ_SEARCH": FAILS}, "open_by_handle_at"),
    ({"held": without("SYS_RESOURCE"), "kernel": (5, 10)},
     {"SYS_RESOURCE": FAILS, "locked memory": FAILS}, "8192 KiB"),
    ({"held": without("NET_ADMIN", "SYS_NICE")}, {"for netlink": LESSER}, "NET_ADMIN, SYS_NICE"),
    ({"bcc": "", "bcc_error": "No module named 'bcc'"}, {"compiler": LESSER}, "No module named 'bcc'"),
    ({"memory_limit_bytes": 128 << 20}, {"memory for it": LESSER}, "128 MiB"),
    ({"cgroups": Cgroups(error="there is no cgroup2 mount", by_id_error="")},
     {"cgroups": FAILS, "cgroups by id": LESSER}, "no cgroup2 mount"),
    ({"cgroups": Cgroups("/sys/fs/cgroup", "", is_whole=False)}, {"cgroups": LESSER}, "only a part"),
    ({"cgroups": Cgroups("/c", "", True, "Operation not permitted")},
     {"cgroups by id": LESSER}, "Operation not permitted"),
    ({"cgroups": Cgroups("/c", "", is_whole=True, has_legacy=True)}, {"cgroups": LESSER}, "version 1"),
    ({"is_first_pid_namespace": False}, {"pid namespace": LESSER}, "not the host's"),
    ({"pods": Folder("/h/var/log/pods", 0, "No such file")}, {"/var/log/pods": LESSER}, "/h/var/log/pods"),
    ({"bundles": ()}, {"runtime's bundles": LESSER}, "no folder of containerd"),
    ({"bundles": (Folder("/run/x", 0, "Permission denied"),)},
     {"runtime's bundles": LESSER}, "/run/x: Permission denied"),
    ({"cri_socket": Socket("/run/c.sock", "Connection refused")},
     {"runtime's socket": LESSER}, "/run/c.sock: Connection refused"),
    ({"journals": ()}, {"journal": LESSER}, "no journal"),
    ({"has_journal_library": False}, {"journal": LESSER}, "systemd library"),
    ({"machine_id": "uninitialized"}, {"machine id": LESSER}, "/etc/machine-id"),
    ({"is_clock_synchronized": False}, {"clock": LESSER}, "not synchronized"),
    ({"log_folders": 9000, "inotify": Inotify(8192, 128)}, {"inotify watches": LESSER}, "9000 folders"),
    ({"inotify": Inotify(8192, 128, "Too many open files")}, {"inotify instances": FAILS}, "Too many open"),
    ({"inotify": None}, {"inotify watches": FAILS, "inotify instances": FAILS}, "no inotify"),
    ({"descriptors": 256}, {"open files": LESSER}, "70 containers want 722"),
    ({"state_error": "Read-only file system"}, {"state": LESSER}, "Read-only file system"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "expected", "told"), SPOILT, ids=lambda value: str(value)[:50])
def test_what_is_not_well_is_told_with_a_remedy(
    change: dict[str, Any], expected: dict[str, str], told: str
) -> None:
    rows = examine(replace(FACTS, **change), ATTEMPT)
    assert troubled(rows) == expected
    wrong = [row.finding for row in rows if row.finding.state != "works"]
    assert all(finding.remedy for finding in wrong)
    assert any(told in finding.reason for finding in wrong)


def test_every_check_can_be_troubled() -> None:
    """The table above leaves none out."""
    spoilt = {name for _, expected, _ in SPOILT for name in expected}
    spoilt |= {"PERFMON", "seccomp", "heartbeat", "netlink instead"}  # below, as the next
    spoilt |= {"connection tracking", "/var/log/containers"}
    hooks = {hook.tracepoint for hook in HOOKS}
    assert {row.check for row in examine(FACTS, ATTEMPT)} - hooks == spoilt


def test_no_probe_can_be_loaded() -> None:
    attempt = Attempt(error="The kernel refuses to make a map: EPERM.", connector_error="refused")
    facts = replace(
        FACTS, held=without("BPF", "PERFMON", "SYS_ADMIN"), seccomp=True, bcc="", bcc_error="no bcc"
    )
    rows = examine(facts, attempt)
    assert troubled(rows) == {
        "BPF": FAILS,
        "PERFMON": FAILS,
        "for netlink": LESSER,
        "seccomp": LESSER,
        "compiler": FAILS,
        "all hooks": FAILS,
        "heartbeat": FAILS,
        "netlink instead": LESSER,
    }
    assert {row.check for row in rows if row.is_needed and row.finding.state == "fails"} == {
        "BPF",
        "PERFMON",
        "compiler",
        "all hooks",
        "heartbeat",
    }


def test_single_hooks() -> None:
    first, second, *others = ATTEMPT.hooks
    first = first._replace(
        state="lesser", dialect=Dialect.RAW_TP, reason="no BTF", consequence="It costs more."
    )
    second = second._replace(state="failed", dialect=None, reason="no such tracepoint", consequence="Unseen.")
    rows = {row.check: row for row in examine(FACTS, replace(ATTEMPT, hooks=(first, second, *others)))}
    assert rows[first.hook].finding[:2] == ("lesser", "as raw_tp: no BTF. It costs more.")
    assert rows[second.hook].finding[:2] == ("fails", "no such tracepoint. Unseen.")
    assert rows[second.hook].is_needed
    late = next(hook for hook in HOOKS if hook.since > (6, 0))
    absent = HookReport(late.subject, late.tracepoint, (), "absent", "too old", "Not told.", None)
    rows = {row.check: row for row in examine(FACTS, replace(ATTEMPT, hooks=(absent,)))}
    row = rows[late.tracepoint]
    assert (row.finding.state, row.is_needed) == ("lesser", False)
    improves_others = next(hook for hook in HOOKS if not hook.kinds)
    assert not rows[improves_others.tracepoint].is_needed


def hooks_of(*subjects: str) -> set[str]:
    return {hook.tracepoint for hook in HOOKS if hook.subject in subjects}


def test_what_is_not_asked_for_is_off_where_it_would_not_work() -> None:
    hooks = tuple(
        hook._replace(state="failed", dialect=None, reason="not permitted")
        if hook.subject == "flow"
        else hook
        for hook in ATTEMPT.hooks
    )
    facts = replace(FACTS, held=without("NET_ADMIN"))
    attempt = replace(ATTEMPT, hooks=hooks)
    found = {row.check: row for row in examine(facts, attempt, hooks_of("process"))}
    assert (found["Trace flow"].finding.state, found["Trace flow"].is_needed) == ("off", False)
    assert "NET_ADMIN" in found["Trace flow"].finding.remedy
    assert not [row for row in found.values() if row.finding.state == "fails"]
    of_network = next(hook for hook in hooks if hook.subject == "network")
    assert found[of_network.hook].finding.state == "works"  # it would, so it is told like the others
    assert not found[of_network.hook].is_needed
    of_flow = {hook.hook for hook in hooks if hook.subject == "flow"}
    rows = examine(facts, attempt, hooks_of("process", "flow"))
    assert {row.check for row in rows if row.is_needed and row.finding.state == "fails"} == of_flow
    assert "Trace flow" not in {row.check for row in rows}
    part = {row.check: row.finding.state for row in examine(facts, attempt, {"cgroup_post_bind4"})}
    assert (part["cgroup_post_bind4"], part["Trace flow"]) == ("fails", "off")


@pytest.mark.parametrize(
    ("number", "is_nodes", "state", "told"),
    [
        (0, True, "works", "heard of"),
        (errno.ENOENT, True, "works", "nothing tracks"),
        (errno.EPERM, True, LESSER, "grant NET_ADMIN"),
        (errno.EPERM, False, LESSER, "set hostNetwork"),
    ],
)
def test_connection_tracking_is_for_flows(number: int, is_nodes: bool, state: str, told: str) -> None:
    facts = replace(FACTS, is_nodes_network=is_nodes)
    attempt = replace(ATTEMPT, tracking_errno=number)

    def found(traced: set[str]) -> Row:
        return next(row for row in examine(facts, attempt, traced) if row.check == "connection tracking")

    flows = hooks_of("flow")
    assert found(flows).finding.state == state
    assert told in " ".join(found(flows).finding)
    assert not found(flows).is_needed
    assert found(hooks_of("process")).finding.state == ("works" if state == "works" else "off")


def test_a_heartbeat_that_does_not_arrive() -> None:
    rows = examine(FACTS, replace(ATTEMPT, heard=PROVABLE - {Kind.EXEC, Kind.EXIT}))
    (row,) = [row for row in rows if row.finding.state != "works"]
    assert (row.check, row.is_needed) == ("heartbeat", True)
    assert "exec, exit of a process of podwitness did not arrive" in row.finding.reason


def test_logs_of_containers_are_missed_too() -> None:
    rows = examine(replace(FACTS, containers=Folder("/var/log/containers", 0, "Permission denied")), ATTEMPT)
    assert troubled(rows) == {"/var/log/containers": "lesser"}
