"""Rules of Decode_Field as they are written; what they do is in test_decoders.py."""

from __future__ import annotations

import pytest

from collector.parsers.rules import Rule, read_rule


def test_rules() -> None:
    assert read_rule("json log", as_value=True) == Rule(True, "json", "log")
    assert read_rule("ESCAPED_utf8 log DO_next", as_value=False) == Rule(
        False, "escaped_utf8", "log", "do_next"
    )


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        ("json", "expected a decoder and a field"),
        ("xml log", "expected one of the decoders"),
        ("json log later", "expected try_next or do_next behind the field"),
    ],
)
def test_rules_that_are_none(written: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        read_rule(written, as_value=True)
