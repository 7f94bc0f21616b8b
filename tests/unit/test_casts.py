"""Types: numbers as C reads them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.parsers.casts import CASTS, read_types


@pytest.mark.parametrize(
    ("kind", "text", "expected"),
    [
        ("integer", "12ab", 12),
        ("integer", " -3", -3),
        ("integer", "x", 0),
        ("integer", "9" * 25, 2**63 - 1),
        ("integer", "-" + "9" * 25, -(2**63)),
        ("hex", "0xff", 255),
        ("hex", "fe z", 254),
        ("hex", "z", 0),
        ("float", "1.5e3x", 1500.0),
        ("float", "-.5", -0.5),
        ("float", "abc", 0.0),
        ("bool", "TRUE", True),
        ("bool", "falsely", False),
        ("bool", "yes", "yes"),
        ("string", "7", "7"),
    ],
)
def test_casts(kind: str, text: str, expected: Any) -> None:
    assert CASTS[kind](text) == expected


@given(st.text(max_size=40), st.sampled_from(sorted(CASTS)))
def test_any_text_is_cast(text: str, kind: str) -> None:
    CASTS[kind](text)


def test_types_as_they_are_written() -> None:
    found = read_types("code:integer size:INTEGER ratio:float")
    assert [found[key]("7") for key in ("code", "size", "ratio")] == [7, 7, 7.0]
    for wrong in ("code", ":integer", "code:number"):
        with pytest.raises(ValueError, match="expected"):
            read_types(wrong)
