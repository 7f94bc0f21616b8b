"""collector.inputs.event_keys: what is read of a value, and what is refused."""

from __future__ import annotations

import pytest

from collector.inputs.event_keys import (
    executables_kind,
    folder_kind,
    interval_kind,
    ports_kind,
    ring_kind,
    trace_kind,
    variables_kind,
)


@pytest.mark.parametrize(
    ("written", "names"),
    [("off", ()), ("SPO_EXEC_REQUEST_UID", ("SPO_EXEC_REQUEST_UID",)), ("A, B C", ("A", "B", "C"))],
)
def test_environment_is_a_list_of_names(written: str, names: tuple[str, ...]) -> None:
    assert variables_kind.read(written) == names


def test_a_value_is_no_name_of_a_variable() -> None:
    with pytest.raises(ValueError, match="without their values"):
        variables_kind.read("PATH=/bin")


def test_a_pattern_is_no_name_of_a_variable() -> None:
    for written in ("*", "FOO LD_*"):
        with pytest.raises(ValueError, match=r"whole names of environment variables, not \S*\*"):
            variables_kind.read(written)


def test_intervals_are_above_zero() -> None:
    assert interval_kind.read("30s") == 30
    for written in ("0", "0ms"):
        with pytest.raises(ValueError, match="more than 0"):
            interval_kind.read(written)


def test_executables_are_whole_paths() -> None:
    read = executables_kind.read
    assert read("off") == ()
    assert read("/usr/bin/kubelet, /usr/bin/containerd") == ("/usr/bin/kubelet", "/usr/bin/containerd")
    for wrong in ("kubelet", "/usr/bin/../kubelet", "/usr//bin/kubelet", "/usr/bin/"):
        with pytest.raises(ValueError, match=f"not {wrong}"):
            read(wrong)
    with pytest.raises(ValueError, match="up to 64"):
        read(" ".join(f"/bin/{number}" for number in range(65)))


def test_sizes_of_rings_are_rounded_up() -> None:
    assert (ring_kind.read("8MiB"), ring_kind.read("5Ki"), ring_kind.read("5M")) == (8 << 20, 8192, 8 << 20)
    with pytest.raises(ValueError, match="4Ki to 1Gi"):
        ring_kind.read("2Gi")


def test_ports_and_folders_can_be_off() -> None:
    assert (ports_kind.read("53, 5353"), ports_kind.read("off"), folder_kind.read("OFF")) == (
        (53, 5353),
        (),
        "",
    )
    for wrong in ("0", "65536", "53 54 55 56 57", "dns"):
        with pytest.raises(ValueError, match="port numbers"):
            ports_kind.read(wrong)
    with pytest.raises(ValueError, match="absolute"):
        folder_kind.read("var/lib")


def test_subjects_and_events_are_named() -> None:
    assert trace_kind.read("process, Flow -dns") == ("process", "flow", "-dns")
    with pytest.raises(ValueError, match="expected some of process"):
        trace_kind.read(" ")
    with pytest.raises(ValueError, match="right behind"):
        trace_kind.read("process - fork")


@pytest.mark.parametrize(
    ("written", "wrong", "meant"),
    [
        ("proces", "proces", "process"),
        ("process, ptrac", "ptrac", "ptrace"),
        ("process -chmodd", "chmodd", "chmod"),
        ("privilege.ptrace", "privilege.ptrace", "syscalls.ptrace"),
        ("syscalls.ptrac", "syscalls.ptrac", "syscalls.ptrace"),
        ("network.fork", "network.fork", "process.fork"),
    ],
)
def test_a_name_that_there_is_not_is_told_with_the_one_that_was_meant(
    written: str, wrong: str, meant: str
) -> None:
    with pytest.raises(ValueError, match=rf"^{wrong} is no subject and no event\. Did you mean {meant}\?$"):
        trace_kind.read(written)
