"""collector.inputs.ebpf_settings: what is written, and what it means."""

from __future__ import annotations

import pytest

from collector.config.schema import InvalidConfiguration, load
from collector.config.sections import Entry, Section
from collector.inputs.ebpf_settings import Settings


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
