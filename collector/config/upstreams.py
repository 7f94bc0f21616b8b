"""Upstreams: several receivers for one output, from a file of their own or from the main configuration.

Source: Fluent Bit's src/flb_upstream_ha.c, and `upstream_servers` of its YAML
format. A node has the keys of its output over those that the output itself has;
in Fluent Bit it has only its own, so that an output's Require_ack_response would
be forgotten. `weight` is podwitness's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from collector.config.kinds import Kind
from collector.config.schema import integer, key, read, text
from collector.config.sections import Entry, Section
from collector.errors import ConfigError


def _read_weight(written: str) -> int:
    return int(integer(1, 1000).read(written))


@dataclass(frozen=True, slots=True)
class NodeKeys:
    """What a [NODE] has beside the keys of its output."""

    name: str = key("Name", text, help="What it is called in the log.")
    weight: int = key(
        "Weight",
        Kind("whole number from 1 to 1000", _read_weight),
        default="1",
        help="Its share of the chunks, compared with the other nodes.",
    )


@dataclass(frozen=True, slots=True)
class Node:
    """One receiver; `settings` are the Settings of the output's plugin."""

    name: str
    weight: int
    settings: Any


def groups(sections: Sequence[Section]) -> dict[str, list[Section]]:
    """Each [UPSTREAM] of the sections by its name, with the [NODE]s that follow it."""
    found: dict[str, list[Section]] = {}
    nodes: list[Section] = []
    for section in sections:
        if section.name == "UPSTREAM":
            name = section.get("name")
            nodes = found.setdefault(name.value if name else "", [])
        elif section.name == "NODE":
            nodes.append(section)
    return found


def check(sections: Sequence[Section], problem: Callable[[str, str, str], None]) -> None:
    """Tells what is wrong about [UPSTREAM] and [NODE] whatever the output."""
    open_group = False
    for section in sections:
        if section.name == "UPSTREAM":
            open_group = True
            if section.get("name") is None:
                problem(section.place, "[UPSTREAM] has no Name.", "Give it one.")
        elif section.name == "NODE" and not open_group:
            problem(
                section.place,
                "[NODE] belongs to no [UPSTREAM].",
                "Write an [UPSTREAM] with a Name before it.",
            )


def node(
    settings: Any,
    output: Section,
    section: Section,
    not_inherited: Iterable[str],
    problems: list[ConfigError],
) -> Node | None:
    """A [NODE] as its output's settings; None with problems noted."""
    own_names = {"name", "weight"}
    own = replace(section, entries=_only(section.entries, own_names))
    keys = read(NodeKeys, own, problems)
    theirs = [one for one in section.entries if one.key.lower() not in own_names]
    written = {one.key.lower() for one in theirs}
    left_out = written | {name.lower() for name in not_inherited}
    inherited = [one for one in output.entries if one.key.lower() not in left_out]
    merged = replace(section, entries=(*inherited, *theirs))
    loaded = read(settings, merged, problems, title="a [NODE] of this output")
    if keys is None or loaded is None:
        return None
    return Node(keys.name, keys.weight, loaded)


def _only(entries: Iterable[Entry], names: set[str]) -> tuple[Entry, ...]:
    return tuple(one for one in entries if one.key.lower() in names)
