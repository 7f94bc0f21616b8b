"""Sections become typed settings, and what is wrong is said with its place."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, replace

import pytest

from collector.config.kinds import Kind
from collector.config.schema import (
    InvalidConfiguration,
    Key,
    boolean,
    choice,
    commas,
    glob,
    integer,
    key,
    keys_of,
    load,
    ordered,
    pattern,
    prefixed,
    repeated,
    seconds,
    size_bytes,
    text,
    words,
)
from collector.config.sections import Entry, Section


def section(*pairs: tuple[str, str]) -> Section:
    entries = tuple(Entry(name, value, "a.conf", line) for line, (name, value) in enumerate(pairs, 2))
    return Section("INPUT", "a.conf", 1, entries)


@dataclass(frozen=True, slots=True)
class Settings:
    path: tuple[str, ...] = key("Path", commas, help="Files.")
    refresh_s: float = key("Refresh_Interval", seconds, help="How often.", default="1m")
    limit_bytes: int = key("Limit", size_bytes, help="How much.", default=32_000)
    filters: tuple[str, ...] = key("Filter", repeated(text), help="Which.", default=())

    def __post_init__(self) -> None:
        if self.limit_bytes == 7:
            raise ValueError("Limit must not be 7.")


def problems(*pairs: tuple[str, str]) -> list[str]:
    with pytest.raises(InvalidConfiguration) as caught:
        load(Settings, section(*pairs))
    return [str(problem) for problem in caught.value.problems]


def test_values_are_read_and_defaults_filled_in() -> None:
    loaded = load(Settings, section(("PATH", "/a, /b"), ("filter", "x=1"), ("Filter", "y=2")))
    assert loaded == Settings(path=("/a", "/b"), refresh_s=60.0, limit_bytes=32000, filters=("x=1", "y=2"))


def test_a_single_key_may_not_be_repeated() -> None:
    assert problems(("Path", "/a"), ("Path", "/b")) == [
        "a.conf:3: Path is set already at a.conf:2. Keep one of the two lines."
    ]


def test_in_service_the_last_of_a_single_key_counts() -> None:
    gathered = replace(section(("Path", "/a"), ("Path", "/b")), name="SERVICE")
    assert load(Settings, gathered).path == ("/b",)


@dataclass(frozen=True, slots=True)
class Renamed:
    size: int = key("server.size", integer(1), default="7", other_names=("Size",), help="A size.")
    names: tuple[str, ...] = key(
        "Allow", repeated(text), default=(), other_names=("Whitelist",), help="Names."
    )


def test_a_key_may_have_an_older_name() -> None:
    assert load(Renamed, section(("size", "3"))) == Renamed(3)
    both = section(("Whitelist", "a"), ("server.Size", "4"), ("allow", "b"))
    assert load(Renamed, both) == Renamed(4, ("a", "b"))
    with pytest.raises(InvalidConfiguration, match=r"a\.conf:3: server\.size is set already at a\.conf:2"):
        load(Renamed, section(("server.size", "3"), ("Size", "4")))
    with pytest.raises(InvalidConfiguration, match=r"Did you mean Whitelist\?"):
        load(Renamed, section(("Whitelst", "a")))


def test_all_problems_are_reported() -> None:
    assert problems(("Pth", "/a"), ("Refresh_Interval", "10x"), ("Limit", "many")) == [
        "a.conf:2: Pth is not a key of [INPUT]. Did you mean Path?",
        "a.conf:1: [INPUT] needs the key Path: Files.",
        "a.conf:3: Refresh_Interval is '10x': expected a time such as 5, 0.5, 20ms, 5s, 1m, 1h or 1d "
        "(a plain number is seconds).",
        "a.conf:4: Limit is 'many': expected a size such as 32k, 50MB or 1G.",
    ]


def test_a_name_far_from_all_gets_the_list() -> None:
    assert problems(("Path", "/a"), ("Zzz", "1")) == [
        "a.conf:3: Zzz is not a key of [INPUT]. There are: Filter, Limit, Path, Refresh_Interval."
    ]


def test_relations_between_keys_are_checked_with_the_place_of_the_section() -> None:
    assert problems(("Path", "/a"), ("Limit", "7")) == ["a.conf:1: [INPUT] Limit must not be 7."]


def test_common_keys_are_allowed() -> None:
    common = (Key("Tag", text, "The tag."),)
    assert load(Settings, section(("Path", "/a"), ("tag", "x")), common).path == ("/a",)


@dataclass(frozen=True, slots=True)
class Rules:
    rules: tuple[tuple[str, str], ...] = ordered(Key("Set", text, "Sets."), Key("Remove", text, "Removes."))


def test_ordered_keys_keep_the_order_of_the_file() -> None:
    loaded = load(Rules, section(("remove", "a"), ("Set", "b 1"), ("Remove", "c")))
    assert loaded.rules == (("Remove", "a"), ("Set", "b 1"), ("Remove", "c"))
    assert [one.name for one in keys_of(Rules)] == ["Set", "Remove"]


@pytest.mark.parametrize(
    ("kind", "written", "value"),
    [
        (size_bytes, "0", 0),
        (size_bytes, "32000", 32000),
        (size_bytes, "32k", 32_000),
        (size_bytes, "32KB", 32_000),
        (size_bytes, "50MB", 50_000_000),
        (size_bytes, "1.5G", 1_500_000_000),
        (size_bytes, "64KiB", 65536),
        (size_bytes, "1Mi", 1 << 20),
        (seconds, "5", 5.0),
        (seconds, "0.5", 0.5),
        (seconds, "20ms", 0.02),
        (seconds, "5s", 5.0),
        (seconds, "1M", 60.0),
        (seconds, "2h", 7200.0),
        (seconds, "1d", 86400.0),
        (boolean, "On", True),
        (boolean, "yes", True),
        (boolean, "TRUE", True),
        (boolean, "off", False),
        (boolean, "No", False),
        (integer(1, 65535), "24224", 24224),
        (integer(), "-3", -3),
        (choice("info", "debug"), "INFO", "info"),
        (words, "a  b c", ("a", "b", "c")),
        (commas, "a, b,,c ", ("a", "b", "c")),
        (text, "a # b", "a # b"),
    ],
)
def test_kinds_read(kind: Kind[object], written: str, value: object) -> None:
    assert kind.read(written) == value


@pytest.mark.parametrize(
    ("kind", "written"),
    [
        (size_bytes, "-1"),
        (size_bytes, "1T"),
        (size_bytes, "k"),
        (seconds, "-5"),
        (seconds, "1w"),
        (seconds, "nan"),
        (boolean, "1"),
        (boolean, "enabled"),
        (integer(1, 65535), "0"),
        (integer(1, 65535), "65536"),
        (integer(), "٣"),
        (integer(), "1_000"),
        (integer(), "9" * 5000),
        (choice("info", "debug"), "inf"),
        (pattern, "(a"),
        (pattern, "a" * 10 + "(?P<x>" * 10),
    ],
)
def test_kinds_refuse(kind: Kind[object], written: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        kind.read(written)


def test_a_glob_star_is_any_text() -> None:
    assert glob.read("kube.*.log").fullmatch("kube.a\nb.log")
    assert glob.read("*").fullmatch("")
    assert not glob.read("kube.*").fullmatch("kubex")


def test_keys_with_a_prefix_are_passed_on() -> None:
    @dataclasses.dataclass(frozen=True)
    class Passing:
        own: str = key("own.key", text, default="", help="x")
        rest: tuple[tuple[str, int], ...] = prefixed("lib.", "{name}", integer(0), help="Whatever it has.")

    entries = (Entry("Lib.B", "1", "f", 1), Entry("lib.a.c", "2", "f", 2), Entry("own.key", "o", "f", 3))
    found = load(Passing, Section("OUTPUT", "f", 1, entries))
    assert (found.own, found.rest) == ("o", (("b", 1), ("a.c", 2)))
    assert [one.name for one in keys_of(Passing)] == ["own.key", "lib.{name}"]
    with pytest.raises(InvalidConfiguration, match=r"f:1: lib\.x is 'y': expected a whole number"):
        load(Passing, Section("OUTPUT", "f", 1, (Entry("lib.x", "y", "f", 1),)))
