"""The conditions of Fluent Bit's `modify`, as plugins/filter_modify/modify.c decides them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from collector.accessor import ABSENT, Accessor, names, read
from collector.config.kinds import Kind, split_quoted
from collector.config.onigmo import Pattern, compile_onigmo
from collector.config.schema import nearest
from collector.entries import Pairs

Holds = Callable[[Pairs], bool]


@dataclass(frozen=True, slots=True)
class Condition:
    """Two that are written alike are equal, so that a reload knows what stays the same."""

    written: str
    holds: Holds = field(compare=False)

    def __call__(self, record: Pairs) -> bool:
        return self.holds(record)


def matches(value: Any, regex: Pattern) -> bool:
    """Text, true and false are matched; numbers, binary, maps and arrays never are."""
    if isinstance(value, bool):
        value = "true" if value else "false"
    return isinstance(value, str) and regex.is_in(value.encode("utf-8", "surrogateescape"))


def _key_exists(key: Accessor) -> Holds:
    return lambda record: key.value(record) is not ABSENT


def _key_does_not_exist(key: Accessor) -> Holds:
    return lambda record: key.value(record) is ABSENT


def _a_key_matches(regex: Pattern) -> Holds:
    return lambda record: any(matches(key, regex) for key, _ in record)


def _no_key_matches(regex: Pattern) -> Holds:
    return lambda record: not any(matches(key, regex) for key, _ in record)


def _key_value_equals(key: Accessor, text: str) -> Holds:
    return lambda record: names(key.value(record), text)


def _key_value_does_not_equal(key: Accessor, text: str) -> Holds:
    def holds(record: Pairs) -> bool:
        value = key.value(record)
        return value is not ABSENT and not names(value, text)

    return holds


def _key_value_matches(key: Accessor, regex: Pattern) -> Holds:
    return lambda record: matches(key.value(record), regex)


def _key_value_does_not_match(key: Accessor, regex: Pattern) -> Holds:
    def holds(record: Pairs) -> bool:
        value = key.value(record)
        return value is not ABSENT and not matches(value, regex)

    return holds


def _matching_keys_have_matching_values(keys: Pattern, values: Pattern) -> Holds:
    return lambda record: all(matches(value, values) for key, value in record if matches(key, keys))


def _matching_keys_do_not_have_matching_values(keys: Pattern, values: Pattern) -> Holds:
    have = _matching_keys_have_matching_values(keys, values)
    return lambda record: not have(record)


# Name -> how it is built, and how each of its words is read.
CONDITIONS: dict[str, tuple[Callable[..., Holds], tuple[Callable[[str], Any], ...]]] = {
    "Key_exists": (_key_exists, (read,)),
    "Key_does_not_exist": (_key_does_not_exist, (read,)),
    "A_key_matches": (_a_key_matches, (compile_onigmo,)),
    "No_key_matches": (_no_key_matches, (compile_onigmo,)),
    "Key_value_equals": (_key_value_equals, (read, str)),
    "Key_value_does_not_equal": (_key_value_does_not_equal, (read, str)),
    "Key_value_matches": (_key_value_matches, (read, compile_onigmo)),
    "Key_value_does_not_match": (_key_value_does_not_match, (read, compile_onigmo)),
    "Matching_keys_have_matching_values": (
        _matching_keys_have_matching_values,
        (compile_onigmo, compile_onigmo),
    ),
    "Matching_keys_do_not_have_matching_values": (
        _matching_keys_do_not_have_matching_values,
        (compile_onigmo, compile_onigmo),
    ),
}
_BY_LOWER = {name.lower(): name for name in CONDITIONS}
_WORDS = {1: "a key", 2: "a key and a value"}


def read_condition(written: str) -> Condition:
    """Raises ValueError with a sentence that says what is expected."""
    kind, *arguments = split_quoted(written) or ("",)
    name = _BY_LOWER.get(kind.lower())
    if name is None:
        raise ValueError(
            f"expected a condition, but there is none called {kind!r}. {nearest(kind, CONDITIONS)}"
        )
    build, readers = CONDITIONS[name]
    if len(arguments) != len(readers):
        raise ValueError(f"expected {name} and {_WORDS[len(readers)]}, in quotes where there are spaces.")
    holds = build(*(reader(word) for reader, word in zip(readers, arguments, strict=True)))
    return Condition(written, holds)


condition = Kind("condition", read_condition)
