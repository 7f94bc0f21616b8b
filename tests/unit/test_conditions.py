"""The conditions of `modify`, each on records that decide it either way."""

from __future__ import annotations

from typing import Any

import pytest

from collector.filters.conditions import CONDITIONS, read_condition

RECORD: list[tuple[Any, Any]] = [
    ("level", "error"),
    ("count", 5),
    ("ok", True),
    ("raw", b"error"),
    ("nested", {"level": "warn"}),
    ("text", "first\nsecond"),
]


@pytest.mark.parametrize(
    ("written", "holds"),
    [
        ("Key_exists level", True),
        ("KEY_EXISTS $nested['level']", True),
        ("Key_exists lev", False),
        ("Key_does_not_exist lev", True),
        ("Key_does_not_exist level", False),
        ("A_key_matches ^le", True),
        ("A_key_matches ^ev", False),
        ("No_key_matches ^ev", True),
        ("No_key_matches ^le", False),
        ("Key_value_equals level error", True),
        ("Key_value_equals level err", False),
        ("Key_value_equals raw error", True),  # bytes are compared too
        ("Key_value_equals count 5", False),  # a number never equals a text, as in Fluent Bit
        ("Key_value_equals none error", False),
        ("Key_value_equals $nested['level'] warn", True),
        ('Key_value_equals text "first second"', False),
        ("Key_value_does_not_equal level info", True),
        ("Key_value_does_not_equal level error", False),
        ("Key_value_does_not_equal count 5", True),
        ("Key_value_does_not_equal none error", False),  # an absent key is neither
        ("Key_value_matches level ^err", True),
        ("Key_value_matches level /^ERR/i", True),
        ("Key_value_matches level ^rr", False),
        ("Key_value_matches text ^second$", True),
        ("Key_value_matches ok ^true$", True),
        ("Key_value_matches count 5", False),
        ("Key_value_matches raw err", False),  # bytes are not matched
        ("Key_value_does_not_match level ^x", True),
        ("Key_value_does_not_match level ^e", False),
        ("Key_value_does_not_match none ^e", False),
        ("Matching_keys_have_matching_values ^(level|ok)$ ^(error|true)$", True),
        ("Matching_keys_have_matching_values ^(level|count)$ .", False),
        ("Matching_keys_have_matching_values ^none$ x", True),
        ("Matching_keys_do_not_have_matching_values ^level$ ^error$", False),
        ("Matching_keys_do_not_have_matching_values ^level$ ^info$", True),
        ("Matching_keys_do_not_have_matching_values ^none$ x", False),
    ],
)
def test_conditions(written: str, holds: bool) -> None:
    assert read_condition(written)(RECORD) is holds


@pytest.mark.parametrize("name", CONDITIONS)
def test_each_needs_its_words(name: str) -> None:
    for words in ("", " a b c"):
        with pytest.raises(ValueError, match=f"expected {name} and a key"):
            read_condition(name + words)


@pytest.mark.parametrize("written", ["", "Key_is a", '"Key_exists'])
def test_what_is_no_condition(written: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        read_condition(written)
