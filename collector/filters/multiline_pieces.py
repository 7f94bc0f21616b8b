"""Pieces of a line that a container runtime split, by Fluentd's keys: for Mode partial_message.

As Fluent Bit's plugins/filter_multiline/ml_concat.c. docker's log driver writes partial_message,
partial_id, partial_ordinal and partial_last; pieces come in order, those of several lines mixed.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from collector.accessor import names
from collector.entries import Pairs
from collector.record import Record

_PREFIX = "partial_"


class Piece(NamedTuple):
    """Of the line `ident`."""

    ident: str
    is_last: bool
    content: bytes


def piece_of(pairs: Pairs, content_key: str) -> Piece | None:
    """None: the record is whole, or does not say what it is a piece of."""
    ident, content = _value(pairs, "partial_id"), _value(pairs, content_key)
    if not _is_true(_value(pairs, "partial_message")) or not isinstance(ident, str):
        return None
    if isinstance(content, str):
        content = content.encode("utf-8", "surrogateescape")
    if not isinstance(content, bytes):
        return None
    return Piece(ident, _is_true(_value(pairs, "partial_last")), content)


def assembled(first: Record, content: bytes, content_key: str) -> Record:
    """The first piece's record without what told that it is one, and at its end the text of all."""
    others = [one for one in first.pairs if not (_is_of_pieces(one[0]) or names(one[0], content_key))]
    return first.like([*others, (content_key, content.decode("utf-8", "surrogateescape"))])


def _is_of_pieces(key: Any) -> bool:
    return isinstance(key, str) and key.startswith(_PREFIX)


def _value(pairs: Pairs, key: str) -> Any:
    return next((value for name, value in pairs if names(name, key)), None)


def _is_true(value: Any) -> bool:
    return isinstance(value, str) and value[:4].lower() == "true"
