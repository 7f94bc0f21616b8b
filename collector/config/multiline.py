"""`[MULTILINE_PARSER]` sections, and what `multiline.parser` of an input may name."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from collector.config.kinds import Kind, shown
from collector.config.onigmo import compile_onigmo
from collector.config.schema import boolean, choice, integer, key, nearest, repeated, text
from collector.multiline.built_in import CONTAINER_NAMES, NAMES, built_in
from collector.multiline.parsers import Ending, MultilineParser, Rule, connected

MultilineParsers = Mapping[str, MultilineParser]

_PARTS = re.compile(r'\s*"(?P<quoted>(?:[^"\\]|\\.)*)"|\s*(?P<bare>\S+)', re.DOTALL)


def _read_rule(written: str) -> Rule:
    """`"state" "/pattern/" "next state"`; in quotes, only a quote is written with a backslash before it."""
    parts = [
        found["bare"] if found["quoted"] is None else found["quoted"].replace(r"\"", '"')
        for found in _PARTS.finditer(written)
    ]
    if len(parts) != 3:
        raise ValueError('expected three parts in quotes: "state" "/regex/" "next state".')
    states = tuple(state.strip() for state in parts[0].split(",") if state.strip())
    return Rule(states, compile_onigmo(parts[1]), parts[2].strip())


rule_kind: Kind[Rule] = Kind("state, pattern and next state", _read_rule, show=lambda value: "")


def quoted_rule(state: str, regex: str, next_state: str) -> str:
    """A rule as the classic format has it."""
    return " ".join('"' + part.replace('"', r"\"") + '"' for part in (state, regex, next_state))


@dataclass(frozen=True, slots=True)
class MultilineSection:
    name: str = key("Name", text, help="What `multiline.parser` refers to.")
    type: str = key(
        "Type",
        choice("regex", "endswith", "equal", "eq"),
        help="By rules, or by what the last line ends with or is.",
    )
    rules: tuple[Rule, ...] = key(
        "Rule",
        repeated(rule_kind),
        default=(),
        help='`"state" "/regex/" "next state"`, as often as needed; the first line\'s is `start_state`.',
    )
    match_string: str = key("Match_String", text, default="", help="For endswith and equal: the text.")
    negate: bool = key("Negate", boolean, default="Off", help="For these two: every other line is the last.")
    flush_timeout_ms: int = key(
        "Flush_Timeout", integer(1), default="4000", help="Milliseconds that an open record waits for a line."
    )
    parser: str = key("Parser", text, default="", help="What takes a line apart first.")
    key_content: str = key("Key_Content", text, default="", help="The field that is joined, of a parser's.")
    key_pattern: str = key("Key_Pattern", text, default="", help="The field that rules look at, if another.")
    key_group: str = key(
        "Key_Group", choice("stream", ""), default="", help="`stream`: lines are joined by stream, as always."
    )

    def __post_init__(self) -> None:
        if self.type == "regex":
            try:
                connected(self.rules)
            except ValueError as reason:
                raise ValueError(f"{self.name} {reason}") from None
        elif not self.match_string:
            raise ValueError(f"{self.name} has Type {self.type}, but no Match_String.")

    def parsed(self) -> MultilineParser:
        ending = None
        if self.type != "regex":
            ending = Ending(self.match_string.encode(), self.type != "endswith", self.negate)
        return MultilineParser(
            self.name,
            self.rules,
            ending,
            self.flush_timeout_ms / 1000,
            self.parser,
            self.key_content,
            self.key_pattern,
        )


def check_names(names: Iterable[str], known: MultilineParsers) -> None:
    """Raises ValueError for a name that is neither built in nor of a section."""
    there = (*CONTAINER_NAMES, *NAMES, *known)
    for name in names:
        if name not in there:
            raise ValueError(f"there is no multiline parser called {shown(name)}. {nearest(name, there)}")


def multiline_parsers(names: Iterable[str], known: MultilineParsers) -> tuple[MultilineParser, ...]:
    """Those of the names that join lines, in their order: `cri` and `docker` join parts of a line before."""
    return tuple(
        known[name] if name in known else built_in(name)
        for name in names
        if name in known or name not in CONTAINER_NAMES
    )
