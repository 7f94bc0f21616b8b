"""Multiline parsers: by what rules lines are one record.

Fluent Bit's, src/multiline/flb_ml_rule.c: a line that the rules with `start_state`
know begins a record; which rules may know the next line is told by the state that
the last rule led to. A state that leads back to a start ends the record at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from collector.config.onigmo import Pattern

START = "start_state"
FLUSH_TIMEOUT_S = 4.0  # Fluent Bit's FLB_ML_FLUSH_TIMEOUT


@dataclass(slots=True, eq=False)
class Rule:
    """Knows a line in any of the states `before`; the state is `then` afterwards."""

    before: tuple[str, ...]
    pattern: Pattern
    then: str
    next: tuple[Rule, ...] = field(default=(), repr=False)  # those that may know the line that follows
    ends: bool = False  # the record is whole with this line

    @property
    def is_start(self) -> bool:
        return START in self.before


@dataclass(frozen=True, slots=True)
class Ending:
    """The other kind of parser: a line that ends with `text` (`whole`: is it) is the last, or with `negate`
    every other."""

    text: bytes
    whole: bool
    negate: bool

    def is_last(self, line: bytes) -> bool:
        found = line == self.text if self.whole else line.endswith(self.text)
        return found != self.negate


@dataclass(frozen=True, slots=True)
class MultilineParser:
    """`parser` takes a line apart first; then `key_content` is joined, and rules look at `key_pattern`.

    `is_first`: instead of rules, what knows the first line of a record; every other line goes on with it.
    """

    name: str
    rules: tuple[Rule, ...] = ()
    ending: Ending | None = None
    flush_timeout_s: float = FLUSH_TIMEOUT_S
    parser: str = ""
    key_content: str = ""
    key_pattern: str = ""
    is_first: Callable[[bytes], bool] | None = None

    @property
    def starts(self) -> tuple[Rule, ...]:
        return tuple(rule for rule in self.rules if rule.is_start)


def connected(rules: Sequence[Rule]) -> tuple[Rule, ...]:
    """Rules that know which may follow. Raises ValueError for a state that no rule is for."""
    if not any(rule.is_start for rule in rules):
        raise ValueError("has no rule with the state start_state, so no record would ever begin.")
    known = {state for rule in rules for state in rule.before}
    for rule in rules:
        if rule.then not in known and rule.then != START:
            raise ValueError(f"has a rule that leads to the state {rule.then}, which no rule is for.")
        following = [other for other in rules if rule.then in other.before]
        rule.next = tuple(other for other in following if not other.is_start)
        rule.ends = any(other.is_start for other in following)
    return tuple(rules)
