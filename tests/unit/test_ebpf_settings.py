"""collector.inputs.ebpf_settings: what is written, and what it means."""

from __future__ import annotations

import pytest

from collector.catalog import EVENTS
from collector.config.document import load_sections
from collector.config.schema import InvalidConfiguration, keys_of, load
from collector.config.sections import Entry, Section
from collector.inputs.ebpf_settings import NEEDED_SUBJECTS, OF_PROBES, Settings
from collector.native.event_kinds import Kind


def section(*entries: tuple[str, str]) -> Section:
    return Section("INPUT", "f", 1, tuple(Entry(key, value, "f", 2) for key, value in entries))


@pytest.mark.parametrize(
    ("entries", "subjects"),
    [
        ((), ("process", "network", "privilege")),
        ((("Trace", "Syscalls privilege"),), ("privilege", "syscalls")),
        ((("Trace", "network process"),), ("process", "network")),
        ((("Trace", "Process, NETWORK"),), ("process", "network")),
        ((("Trace", "network"),), ("network",)),
        ((("Trace", "network"), ("Trace", "process")), ("process", "network")),
    ],
)
def test_trace_names_subjects_in_any_form(
    entries: tuple[tuple[str, str], ...], subjects: tuple[str, ...]
) -> None:
    assert load(Settings, section(*entries)).subjects == subjects


EVERY = {event.name for event in EVENTS}
PROCESS = {name for name in EVERY if name.startswith("process.")}
DEFAULT = {name for name in EVERY if name.split(".")[0] in ("process", "network", "privilege")}


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (("process",), PROCESS),
        (("process.exec, privilege.kill",), {"process.exec", "privilege.kill"}),
        (("kill",), {"privilege.kill", "syscalls.kill"}),
        (("process, -fork",), PROCESS - {"process.fork"}),
        (("-fork, process",), PROCESS - {"process.fork"}),
        (("process ptrace", "-process.exit"), {*PROCESS, "syscalls.ptrace"} - {"process.exit"}),
        (("-fork",), DEFAULT - {"process.fork"}),
        (("-process -network",), {name for name in EVERY if name.startswith("privilege.")}),
    ],
)
def test_trace_names_events_and_what_to_leave_out(lines: tuple[str, ...], told: set[str]) -> None:
    loaded = load(Settings, section(*(("Trace", line) for line in lines)))
    assert {event.name for event in loaded.told} == told
    assert set(loaded.subjects) == {name.split(".")[0] for name in told}


@pytest.mark.parametrize("trace", ["process network privilege", "syscalls", "flow", "network flow"])
@pytest.mark.parametrize("program", ["On", "Off"])
def test_with_whole_subjects_the_probes_make_all_their_records(trace: str, program: str) -> None:
    loaded = load(Settings, section(("Trace", trace), ("Program", program)))
    assert loaded.off == frozenset()
    assert not {event.kind for event in loaded.told} & loaded.untold


@pytest.mark.parametrize(
    ("entries", "off"),
    [
        ({"Trace": "process -fork", "Program": "Off"}, "process.fork"),
        ({"Trace": "process -fork"}, ""),  # what a child runs is what its maker runs
        ({"Trace": "process -session-end"}, "process.session-end"),
        ({"Trace": "network -listen"}, ""),  # a heartbeat
        ({"Trace": "network -listen", "Heartbeat_Interval": "0"}, "network.listen"),
        ({"Trace": "flow -dns"}, ""),  # names of addresses
        ({"Trace": "flow.bind"}, "flow.dns flow.flow-start flow.flow-update flow.flow-end"),
        ({"Trace": "privilege -kill"}, "privilege.kill"),
        ({"Trace": "privilege syscalls -privilege.kill"}, "privilege.kill"),
    ],
)
def test_probes_make_no_record_of_what_nobody_needs(entries: dict[str, str], off: str) -> None:
    loaded = load(Settings, section(*entries.items()))
    made = {(event.subject, event.kind) for event in EVENTS if event.name in off.split()}
    assert {(subject, Kind(kind)) for subject, kind in loaded.off} == made


def test_who_asks_for_nothing_is_told_so() -> None:
    with pytest.raises(InvalidConfiguration, match=r"f:1: .*Trace leaves out all that it asks for"):
        load(Settings, section(("Trace", "flow.dns, -flow")))


@pytest.mark.parametrize(
    ("written", "ring_bytes"),
    [("8M", 8 << 20), ("8MiB", 8 << 20), ("4096", 4096), ("5Ki", 8192), ("1Gi", 1 << 30)],
)
def test_ring_size_is_rounded_up_to_what_the_kernel_takes(written: str, ring_bytes: int) -> None:
    assert load(Settings, section(("Ring_Size", written))).ring_bytes == ring_bytes


@pytest.mark.parametrize(
    "entry", [("Trace", "process files"), ("Trace", " "), ("Ring_Size", "100"), ("Ring_Size", "2Gi")]
)
def test_what_can_not_be_is_refused_with_its_place(entry: tuple[str, str]) -> None:
    with pytest.raises(InvalidConfiguration, match="f:2"):
        load(Settings, section(entry))


def test_defaults_are_those_of_the_reference() -> None:
    loaded = load(Settings, section())
    assert (loaded.ring_bytes, loaded.flow_ring_bytes, loaded.drain_interval_s) == (4 << 20, 2 << 20, 0.02)
    assert (loaded.pending_limit_bytes, loaded.pending_timeout_s) == (4 << 20, 2.0)


NETLINK_ONLY = "Witness is netlink, which has no probes; remove the line"


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ("Watch_Path /etc/shadow", ["2: Watch_Path /etc/shadow has no effect: Trace is without syscalls"]),
        (
            "Watch_Path /etc/shadow\nTrace syscalls.ptrace",
            ["2: Watch_Path /etc/shadow has no effect: Trace is without the events of files"],
        ),
        ("Watch_Exempt /bin/kubelet\nTrace syscalls process", []),
        ("Watch_Path off", []),
        (
            "Flow_Idle 5\nDns_Ports 53",
            ["2: Flow_Idle 5", "Dns_Ports 53 has no effect: Trace is without flow"],
        ),
        ("Rate_Limit_Network 9 9\nTrace process", ["Trace is without network and flow; name it there"]),
        ("Trace flow\nFlow_Idle 5\nRate_Limit_Network 9 9", []),
        ("Witness netlink\nHeartbeat_Interval 9", [f"3: Heartbeat_Interval 9 has no effect: {NETLINK_ONLY}"]),
        ("Witness ebpf\nRefresh_Interval 9", ["Refresh_Interval 9 has no effect: Witness is ebpf"]),
        ("Refresh_Interval 9\nHeartbeat_Interval 9", []),
        ("Trace change-uid", ["2: Trace change-uid has no effect: where eBPF works nothing tells these"]),
        ("Trace change-uid exec", []),
        ("Trace change-uid\nWitness netlink", []),
    ],
)
def test_keys_without_effect_are_told(lines: str, told: list[str]) -> None:
    written = [line.split(maxsplit=1) for line in ("Name ebpf", *lines.split("\n"))]
    entries = tuple(Entry(key, value, "f", number) for number, (key, value) in enumerate(written, 1))
    output = Section("OUTPUT", "f", 9, (Entry("Name", "null", "f", 9),))
    notices = load_sections([Section("INPUT", "f", 1, entries), output], {}).notices
    assert len(notices) == len(told)
    for notice, expected in zip(notices, told, strict=True):
        assert expected in notice


def test_every_key_without_effect_is_a_key() -> None:
    names = {name.lower() for declared in keys_of(Settings) for name in declared.names}
    assert {name for of in NEEDED_SUBJECTS for name in of} | set(OF_PROBES) <= names
