"""What is a piece of a line, and the line that pieces make (collector.filters.multiline_pieces)."""

from __future__ import annotations

import pytest

from collector.entries import Pairs
from collector.filters.multiline_pieces import Piece, assembled, piece_of
from collector.record import Record

OF_A: Pairs = [("partial_message", "true"), ("partial_id", "a")]


@pytest.mark.parametrize(
    ("pairs", "piece"),
    [
        ([*OF_A, ("log", "x")], Piece("a", False, b"x")),
        ([*OF_A, ("partial_last", "True"), ("log", b"\xff")], Piece("a", True, b"\xff")),
        ([*OF_A, ("partial_last", "false"), ("log", "\udcff")], Piece("a", False, b"\xff")),
        ([("partial_message", "true"), ("log", "x")], None),  # of what, it does not say
        ([*OF_A, ("message", "x")], None),
        ([*OF_A, ("log", 5)], None),
        ([("partial_message", "false"), ("partial_id", "a"), ("log", "x")], None),
        ([("log", "x")], None),
    ],
)
def test_pieces(pairs: Pairs, piece: Piece | None) -> None:
    assert piece_of(pairs, "log") == piece


def test_a_line_is_its_first_piece_with_the_text_of_all_at_the_end() -> None:
    first = Record([*OF_A, ("log", "x"), ("partial_ordinal", "1"), ("source", "stdout")], 7)
    made = assembled(first, b"xyz", "log")
    assert (made.time_ns, made.pairs) == (7, [("source", "stdout"), ("log", "xyz")])
