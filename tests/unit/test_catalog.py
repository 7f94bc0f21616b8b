"""probes.catalog agrees with the header of the records and with the text of the programs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from probes.catalog import (
    HOOKS,
    KINDS,
    SUBJECTS,
    Dialect,
    MapType,
    RecordKind,
    RingSizes,
    dialects,
    hooks_of,
    kernel_version,
    maps,
    maps_of,
    needed,
)
from probes.syscalls import CALLS

PROBES = Path(__file__).parents[2] / "probes"
SIZES = RingSizes(4096, 4096)
CPUS = 4
EVERYWHERE = {"ring", "flow_ring", "lost", "rates", "limits"}
EVENTS_H = (PROBES / "events.h").read_text()
INCLUDES = {
    path.name.removesuffix(".bpf.c"): re.findall(r'#include "(\w+\.h)"', path.read_text())
    for path in PROBES.glob("*.bpf.c")
}


def text_of(subject: str) -> str:
    """With the headers that no other subject includes."""
    others = {header for other, headers in INCLUDES.items() if other != subject for header in headers}
    own = [PROBES / header for header in INCLUDES[subject] if header not in others]
    return "\n".join(path.read_text() for path in (PROBES / f"{subject}.bpf.c", *own))


PROGRAMS = {subject: text_of(subject) for subject in INCLUDES}


def test_kinds_are_those_of_the_header() -> None:
    (body,) = re.findall(r"enum pw_kind \{(.*?)\};", EVENTS_H, re.DOTALL)
    kinds = {name: int(value) for name, value in re.findall(r"PW_(\w+) = (\d+)", body)}
    assert kinds.pop("KINDS") == KINDS
    assert kinds == {kind.name: kind.value for kind in RecordKind}


def test_every_program_is_in_the_table_and_has_a_program() -> None:
    written = {
        (subject, tracepoint)
        for subject, text in PROGRAMS.items()
        for tracepoint in re.findall(r"^(?:SKB_|SOCKET_)?PROGRAM\((\w+)\)", text, re.MULTILINE)
    }
    assert written == {(hook.subject, hook.tracepoint) for hook in HOOKS}


def test_every_kind_of_record_comes_from_a_hook_of_the_subject_that_emits_it() -> None:
    for subject, text in PROGRAMS.items():
        emitted = {
            RecordKind[name] for name in re.findall(r"\bPW_(\w+)", text) if name in RecordKind.__members__
        }
        if subject == "syscalls":  # which of its text are those that it looks at twice
            assert emitted <= {call.kind for call in CALLS}
            emitted = {call.kind for call in CALLS}
        assert emitted == {kind for hook in hooks_of([subject]) for kind in hook.kinds}


def test_every_map_is_used_and_every_used_map_is_made() -> None:
    texts = [path.read_text() for path in PROBES.glob("*.[ch]")]
    used = {name for text in texts for name in re.findall(r"\bMAP\((\w+)\)", text)} - {"name"}
    assert used == {made.name for made in maps(SIZES, CPUS)}


def maps_used(text: str) -> set[str]:
    """By it and by what it includes."""
    included = (PROBES / name for name in re.findall(r'^#include "(\w+\.h)"', text, re.MULTILINE))
    return set(re.findall(r"\bMAP\((\w+)\)", text)).union(*(maps_used(path.read_text()) for path in included))


WHERE_THERE = {"state": {"flow_owners"}}  # used within `#ifdef PW_MAP_...`, with the subject that makes it


@pytest.mark.parametrize("subject", SUBJECTS)
def test_maps_of_a_subject_are_those_that_its_text_uses(subject: str) -> None:
    made = {found.name for found in maps_of([subject], SIZES, CPUS)}
    assert made >= EVERYWHERE
    used = maps_used(PROGRAMS[subject]) - WHERE_THERE.get(subject, set())
    assert made - EVERYWHERE == used - EVERYWHERE - {"name"}


def test_rings_have_the_wanted_sizes_and_losses_can_be_mapped() -> None:
    by_name = {made.name: made for made in maps(RingSizes(1 << 20, 1 << 16), CPUS)}
    assert (by_name["ring"].type, by_name["ring"].entries) == (MapType.RINGBUF, 1 << 20)
    assert (by_name["flow_ring"].type, by_name["flow_ring"].entries) == (MapType.RINGBUF, 1 << 16)
    assert by_name["lost"].mappable
    assert (by_name["lost"].value_bytes, by_name["lost"].entries) == (8, KINDS)


def test_names_of_maps_fit_into_the_kernels() -> None:
    assert all(len(f"pw_{made.name}") <= 15 or made.name.endswith("_scratch") for made in maps(SIZES, CPUS))


def test_subjects_keep_the_order_of_the_table() -> None:
    assert [hook.subject for hook in hooks_of(["cgroup", "process"])] == ["process"] * 5 + ["cgroup"] * 2


def test_unknown_subject_is_named() -> None:
    with pytest.raises(KeyError, match="proces"):
        hooks_of(["process", "proces"])


def test_every_hook_says_what_is_lost_without_it() -> None:
    assert all(hook.without.endswith(".") and hook.since >= (5, 8) for hook in HOOKS)


def test_better_dialect_is_tried_first_where_the_kernel_has_it() -> None:
    hook = HOOKS[0]
    assert dialects(hook, {hook.tracepoint: 1}) == (Dialect.TP_BTF, Dialect.RAW_TP)
    assert dialects(hook, {}) == (Dialect.RAW_TP,)
    of_packets = next(hook for hook in HOOKS if hook.cgroup is not None)
    assert dialects(of_packets, {}) == (Dialect.TP_BTF, Dialect.RAW_TP)
    assert dialects(hook, {hook.tracepoint: 1}, Dialect.RAW_TP) == (Dialect.RAW_TP,)


def test_a_walk_needs_types() -> None:
    walk = next(hook for hook in HOOKS if hook.is_walk)
    assert dialects(walk, {walk.tracepoint: 1}, Dialect.RAW_TP) == (Dialect.TP_BTF,)
    assert dialects(walk, {}) == ()


@pytest.mark.parametrize(
    ("release", "expected"),
    [
        ("6.1.0-18-amd64", (6, 1)),
        ("5.15.167.4-microsoft-standard-WSL2", (5, 15)),
        ("6.18", (6, 18)),
        ("6-rc1", (6, 0)),
        ("mine", (0, 0)),
        ("", (0, 0)),
    ],
)
def test_kernel_version(release: str, expected: tuple[int, int]) -> None:
    assert kernel_version(release) == expected


def test_a_hook_is_left_out_where_the_kernel_has_one_that_tells_the_same() -> None:
    lesser = next(hook for hook in HOOKS if hook.unless)
    assert not lesser.kinds
    assert lesser.unless in {hook.tracepoint for hook in HOOKS}
    assert lesser not in needed(HOOKS, {lesser.unless})
    assert needed(HOOKS, ()) == HOOKS
    assert needed(HOOKS, {lesser.unless}, [f"ARGUMENTS_{lesser.unless}"]) == HOOKS
