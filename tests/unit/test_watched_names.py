"""collector.inputs.watched_names: what Watch_Path means, and the table that the probes are given."""

from __future__ import annotations

import re
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.inputs.watched_names import (
    DEFAULT,
    FOLDER_ITSELF,
    NAME_KEPT,
    PRIME,
    SLOTS,
    TRIES,
    WatchedName,
    hash_of,
    hash_of_folder,
    read_name,
    shown_names,
    table_of,
    watched_kind,
)
from probes.catalog import RingSizes, maps

HEADER = Path(__file__).parents[2] / "probes" / "watched.h"
names = st.builds(WatchedName, st.text("abc.", min_size=1), st.text("abc.", min_size=1))


def slots(content: bytes) -> tuple[int, ...]:
    return struct.unpack(f"<{SLOTS}Q", content)


def test_numbers_are_those_of_the_probes() -> None:
    constants = dict(re.findall(r"#define (\w+) (\w+)", HEADER.read_text()))
    assert (int(constants["WATCHED_SLOTS"]), int(constants["WATCHED_TRIES"])) == (SLOTS, TRIES)
    assert int(constants["HASH_PRIME"].removesuffix("ull"), 16) == PRIME
    assert int(constants["FOLDER_ITSELF"].removesuffix("ull"), 16) == FOLDER_ITSELF
    assert 8 * int(constants["NAME_WORDS"]) == NAME_KEPT
    (made,) = [made for made in maps(RingSizes(4096, 4096), cpus=4) if made.name == "watched"]
    assert (made.value_bytes, made.mappable) == (8 * SLOTS, True)


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("/etc/shadow", ("etc", "shadow")),
        ("etc/shadow", ("etc", "shadow")),
        ("/var/lib/kubelet/pki/*", ("pki", "*")),
        ("*/.netrc", ("*", ".netrc")),
    ],
)
def test_the_last_two_names_count(written: str, name: tuple[str, str]) -> None:
    assert read_name(written) == name


@pytest.mark.parametrize("written", ["", "/", "shadow", "/etc/", "etc/sha*", "s*/shadow", "*/*", "/x", "//"])
def test_what_is_no_such_path_is_refused(written: str) -> None:
    with pytest.raises(ValueError, match=r"expected|stands for"):
        read_name(written)


def test_several_in_a_line_and_none_at_all() -> None:
    assert watched_kind.read("/etc/shadow pki/*") == (("etc", "shadow"), ("pki", "*"))
    assert watched_kind.read("Off") == ()
    assert shown_names(watched_kind.read("/etc/shadow pki/*")) == "etc/shadow pki/*"


@given(st.lists(names, max_size=40))
def test_each_name_is_where_the_probes_look_for_it(wanted: list[WatchedName]) -> None:
    table = table_of(wanted)
    found = slots(table.content)
    put = set(wanted) - set(table.left_out)
    expected = {hash_of(name) for name in put} | {hash_of_folder(name.folder) for name in put}
    for value in expected:
        assert value in [found[((value >> 32) + tried) % SLOTS] for tried in range(TRIES)]
    if not table.left_out:
        assert sum(one != 0 for one in found) == len(expected)


def test_a_folder_that_is_any_has_no_name_to_be_renamed() -> None:
    assert sum(one != 0 for one in slots(table_of([read_name("*/.netrc")]).content)) == 1


def test_what_has_no_place_is_told() -> None:
    many = [WatchedName("folder", str(number)) for number in range(2 * SLOTS)]
    table = table_of(many)
    assert SLOTS // 2 < len(many) - len(table.left_out) <= SLOTS
    with pytest.raises(ValueError, match="fewer paths"):
        watched_kind.read(" ".join("/".join(name) for name in many))


def test_there_is_room_for_all_by_default() -> None:
    assert table_of(map(read_name, DEFAULT)).left_out == ()
    assert read_name("/etc/shadow") in map(read_name, DEFAULT)
