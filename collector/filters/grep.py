"""`[FILTER] Name grep`: keeps or drops records by what a key holds, as Fluent Bit's filter of that name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from collector.accessor import Accessor, read
from collector.config.kinds import Kind
from collector.config.onigmo import Pattern, compile_onigmo
from collector.config.schema import Key, choice, key, ordered
from collector.entries import Pairs
from collector.filters.sees_records import SeesRecords
from collector.identity.identity import Identity
from collector.plugin import Filter

if TYPE_CHECKING:
    from collector.context import Context

SUMMARY = "Keeps or drops records by regular expressions on their keys."


class Rule(NamedTuple):
    key: Accessor
    pattern: Pattern

    def holds(self, record: Pairs) -> bool:
        """Only texts are matched; what is missing or of another type never matches."""
        value = self.key.value(record)
        if isinstance(value, bytes):
            return self.pattern.is_in(value)
        return isinstance(value, str) and self.pattern.is_in(value.encode("utf-8", "surrogateescape"))


def read_rule(written: str) -> Rule:
    """`KEY REGEX`: the expression is the rest of the line. Raises ValueError."""
    name, _, pattern = written.strip().partition(" ")
    if not pattern.strip():
        raise ValueError("expected a key and a regular expression.")
    return Rule(read(name), compile_onigmo(pattern.strip()))


rule_kind = Kind("key and regular expression", read_rule)


@dataclass(frozen=True, slots=True)
class Settings:
    rules: tuple[tuple[str, Rule], ...] = ordered(
        Key("Regex", rule_kind, "Keeps records whose key matches."),
        Key("Exclude", rule_kind, "Drops records whose key matches."),
    )
    logical_op: str = key(
        "Logical_Op",
        choice("legacy", "AND", "OR"),
        default="legacy",
        help="How several rules are joined; legacy: in their order, until an Exclude matches or a Regex is "
        "reached, which decides, so that rules behind a Regex have no effect.",
    )

    def __post_init__(self) -> None:
        if not self.rules:
            raise ValueError("has neither Regex nor Exclude, so it would keep all records.")
        if self.logical_op != "legacy" and len({kind for kind, _ in self.rules}) > 1:
            raise ValueError(f"has Regex and Exclude, which Logical_Op {self.logical_op} can't join.")


class Grep(SeesRecords):
    """The filter of one section."""

    def __init__(self, settings: Settings, matches: Callable[[str], bool]) -> None:
        self.matches = matches
        self._rules = settings.rules
        self._join: Callable[[Any], bool] | None = {"AND": all, "OR": any}.get(settings.logical_op)

    def apply(self, tag: str, record: Pairs, identity: Identity | None) -> Pairs | None:
        return record if self._is_kept(record) else None

    def _is_kept(self, record: Pairs) -> bool:
        if self._join is None:
            return self._is_kept_as_ever(record)
        joined = self._join(rule.holds(record) for _, rule in self._rules)
        return joined == (self._rules[0][0] == "Regex")

    def _is_kept_as_ever(self, record: Pairs) -> bool:
        """The first Regex has the last word, as in Fluent Bit's grep_filter_data."""
        for kind, rule in self._rules:
            holds = rule.holds(record)
            if kind == "Regex":
                return holds
            if holds:
                return False
        return True


def make(settings: Settings, context: Context) -> Filter:
    return Grep(settings, context.plugin.matches)
