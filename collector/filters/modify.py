"""`[FILTER] Name modify`: rules on the keys of a record, as Fluent Bit's filter of that name.

Rules apply in the order they are written, each to the result of the one before.
A `Remove_wildcard` or `Move_to_...` key is the beginning of a name, not a pattern
(plugins/filter_modify/modify.c compares with strncmp).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from collector.accessor import names
from collector.config.kinds import Kind, pair, split_quoted
from collector.config.onigmo import Pattern, compile_onigmo
from collector.config.schema import Key, ordered
from collector.entries import Pairs
from collector.filters.conditions import Condition, condition, matches
from collector.identity.identity import Identity
from collector.plan import EventPlan, Field, LogPlan, Op
from collector.plugin import Filter, LogSource
from collector.records import TOP_LEVEL_KEYS

if TYPE_CHECKING:
    from collector.context import Context

SUMMARY = "Adds, sets, removes, renames, copies and moves keys of records, when conditions hold."


def _read_name(written: str) -> str:
    found = split_quoted(written)
    if len(found) != 1:
        raise ValueError("expected one key, in quotes where there are spaces.")
    return found[0]


name = Kind("key", _read_name)
regex = Kind("regular expression", lambda written: compile_onigmo(_read_name(written)))


@dataclass(frozen=True, slots=True)
class Settings:
    rules: tuple[tuple[str, Any], ...] = ordered(
        Key("Set", pair, "Sets a key to a text: its pairs are removed and a new one goes to the end."),
        Key("Add", pair, "Adds a key with a text at the end, unless the key is there."),
        Key("Remove", name, "Removes a key."),
        Key("Remove_wildcard", name, "Removes all keys that begin so."),
        Key("Remove_regex", regex, "Removes all keys that match."),
        Key("Rename", pair, "Renames a key, unless the new name is there."),
        Key("Hard_rename", pair, "Renames a key; pairs that have the new name already are removed."),
        Key("Copy", pair, "Copies a key's value under a new name behind it, unless the new name is there."),
        Key("Hard_copy", pair, "Copies a key's value under a new name; a pair of that name is removed."),
        Key("Move_to_start", name, "Moves all keys that begin so to the start of the record."),
        Key("Move_to_end", name, "Moves all keys that begin so to the end of the record."),
        Key(
            "Condition", condition, "What a record must be for the rules to apply; all conditions must hold."
        ),
    )


def _set(record: Pairs, value: tuple[str, str]) -> Pairs:
    return [*_remove(record, value[0]), value]


def _add(record: Pairs, value: tuple[str, str]) -> Pairs:
    return record if _count(record, value[0]) else [*record, value]


def _remove(record: Pairs, key: str) -> Pairs:
    return [one for one in record if not names(one[0], key)]


def _remove_wildcard(record: Pairs, beginning: str) -> Pairs:
    return [one for one in record if not _begins(one[0], beginning)]


def _remove_regex(record: Pairs, keys: Pattern) -> Pairs:
    return [one for one in record if not matches(one[0], keys)]


def _rename(record: Pairs, keys: tuple[str, str]) -> Pairs:
    if _count(record, keys[1]):
        return record
    return [(keys[1], one[1]) if names(one[0], keys[0]) else one for one in record]


def _hard_rename(record: Pairs, keys: tuple[str, str]) -> Pairs:
    if not _count(record, keys[0]):
        return record
    # A key renamed to itself is its own conflict and goes, as in Fluent Bit.
    return _rename(_remove(record, keys[1]), keys)


def _copy(record: Pairs, keys: tuple[str, str]) -> Pairs:
    if _count(record, keys[0]) != 1 or _count(record, keys[1]):
        return record
    return [one for given in record for one in _with_copy(given, keys)]


def _hard_copy(record: Pairs, keys: tuple[str, str]) -> Pairs:
    if _count(record, keys[0]) != 1 or _count(record, keys[1]) > 1:
        return record
    return [one for given in _remove(record, keys[1]) for one in _with_copy(given, keys)]


def _with_copy(given: tuple[Any, Any], keys: tuple[str, str]) -> Pairs:
    return [given, (keys[1], given[1])] if names(given[0], keys[0]) else [given]


def _move_to_start(record: Pairs, beginning: str) -> Pairs:
    return sorted(record, key=lambda one: not _begins(one[0], beginning))


def _move_to_end(record: Pairs, beginning: str) -> Pairs:
    return sorted(record, key=lambda one: _begins(one[0], beginning))


def _count(record: Pairs, key: str) -> int:
    return sum(names(one[0], key) for one in record)


def _begins(key: Any, beginning: str) -> bool:
    if isinstance(key, bytes):
        return key.startswith(beginning.encode("utf-8", "surrogateescape"))
    return isinstance(key, str) and key.startswith(beginning)


RULES: dict[str, Callable[[Pairs, Any], Pairs]] = {
    "Set": _set,
    "Add": _add,
    "Remove": _remove,
    "Remove_wildcard": _remove_wildcard,
    "Remove_regex": _remove_regex,
    "Rename": _rename,
    "Hard_rename": _hard_rename,
    "Copy": _copy,
    "Hard_copy": _hard_copy,
    "Move_to_start": _move_to_start,
    "Move_to_end": _move_to_end,
}


class Modify:
    """The filter of one section."""

    def __init__(self, settings: Settings, matches: Callable[[str], bool]) -> None:
        self.matches = matches
        self._rules = tuple(rule for rule in settings.rules if rule[0] != "Condition")
        self._conditions: tuple[Condition, ...] = tuple(
            value for rule, value in settings.rules if rule == "Condition"
        )
        self._fields = _fields(self._rules) if not self._conditions else None

    def fold_log(self, plan: LogPlan, source: LogSource) -> LogPlan | None:
        return None if self._fields is None else plan.then(*self._fields)

    def fold_event(self, plan: EventPlan, tag: str, identity: Identity) -> EventPlan | None:
        """Events take pairs at their end only; what they may have of their own is left to `apply`."""
        if self._fields is None or any(field.key in TOP_LEVEL_KEYS for field in self._fields):
            return None
        steps = plan.steps
        for field in self._fields:
            there = any(step.key == field.key for step in steps)
            if field.op is Op.ADD and there:
                continue
            steps = tuple(step for step in steps if step.key != field.key)
            if field.op is not Op.REMOVE:
                steps += (Field(Op.APPEND, field.key, field.value),)
        return EventPlan(steps)

    def apply(self, tag: str, record: Pairs, identity: Identity | None) -> Pairs | None:
        if all(holds(record) for holds in self._conditions):
            for rule, value in self._rules:
                record = RULES[rule](record, value)
        return record


def _fields(rules: tuple[tuple[str, Any], ...]) -> tuple[Field, ...] | None:
    """The rules as steps of a plan, or None when one of them has no such form."""
    fields: list[Field] = []
    for rule, value in rules:
        match rule:
            case "Add":
                fields.append(Field(Op.ADD, *value))
            case "Set":
                fields.append(Field(Op.SET, *value))
            case "Remove":
                fields.append(Field(Op.REMOVE, value))
            case _:
                return None
    return tuple(fields)


def make(settings: Settings, context: Context) -> Filter:
    return Modify(settings, context.plugin.matches)
