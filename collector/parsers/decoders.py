"""Decode_Field and Decode_Field_As: values that are themselves written in some form, undone.

Source: src/flb_parser_decoder.c and src/flb_unescape.c of Fluent Bit.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import msgpack

from collector.entries import Pairs
from collector.native.logs import json_pairs
from collector.parsers.rules import Rule

_LETTERS = {b"n": b"\n", b"a": b"\a", b"b": b"\b", b"t": b"\t", b"v": b"\v", b"f": b"\f", b"r": b"\r"}
_MYSQL = {b"0": b"\0", b"Z": b"\x1a", b"n": b"\n", b"r": b"\r", b"t": b"\t"} | {
    one: one for one in (b"\\", b"'", b'"')
}
_ESCAPE = re.compile(rb"\\(.)", re.DOTALL)
_ESCAPE_UTF8 = re.compile(
    rb"\\(?:(?P<octal>[0-7]{1,3})|x(?P<x>[0-9A-Fa-f]{1,2})|u(?P<u>[0-9A-Fa-f]{1,4})|U(?P<U>[0-9A-Fa-f]{1,8})"
    rb"|(?P<letter>.))",
    re.DOTALL,
)


def unescape(text: bytes) -> bytes:
    """`\\n` and its like; of any other escape the backslash goes."""
    return _ESCAPE.sub(lambda found: _LETTERS.get(found[1], found[1]), text)


def unescape_utf8(text: bytes) -> bytes:
    """With `\\xNN`, `\\uNNNN`, `\\UNNNNNNNN` and octal numbers, as UTF-8."""
    return _ESCAPE_UTF8.sub(_character, text)


def _character(found: re.Match[bytes]) -> bytes:
    if found["letter"] is not None:
        return _LETTERS.get(found["letter"], found["letter"])
    if found["octal"] is not None:
        return _utf8(int(found["octal"], 8))
    return _utf8(int(found["x"] or found["u"] or found["U"], 16))


def _utf8(code: int) -> bytes:
    """A lone half of a surrogate pair is written as it is, as Fluent Bit does; beyond Unicode nothing is."""
    return chr(code).encode("utf-8", "surrogatepass") if code < 0x110000 else b""


def json_object(text: bytes, *, trim: bool = False) -> Pairs | None:
    """The pairs of what is exactly one JSON object, by the same reader as the fast path's; None otherwise."""
    found = json_pairs(text, trim=trim)
    if found is None:
        return None
    count, packed = found
    unpacker = msgpack.Unpacker(unicode_errors="surrogateescape", max_buffer_size=max(len(packed), 1))
    unpacker.feed(packed)
    return [(unpacker.unpack(), unpacker.unpack()) for _ in range(count)]


def _json(text: bytes) -> Any:
    """The pairs of an object, a list (`_List`) or None. The content may be escaped."""
    for written in (text, unescape(text)) if b"\\" in text else (text,):
        found = json_object(written)
        if found is not None:
            return found
        if written.lstrip()[:1] == b"[":
            within = json_object(b'{"":' + written + b"}")
            if within is not None and len(within) == 1:
                return _List(within[0][1])
    return None


class _List(NamedTuple):
    """A list is a value, but has no pairs."""

    items: list[Any]


def _mysql_quoted(text: bytes) -> bytes | None:
    """Between single or double quotes, with MySQL's escapes; what is not quoted is taken as it is."""
    if len(text) < 2 or text[:1] not in (b"'", b'"') or text[-1:] != text[:1]:
        return text
    return _ESCAPE.sub(lambda found: _MYSQL.get(found[1], found[0]), text[1:-1])


_DECODE: dict[str, Callable[[bytes], Any]] = {
    "json": _json,
    "escaped": unescape,
    "escaped_utf8": unescape_utf8,
    "mysql_quoted": _mysql_quoted,
}


def decode(record: Pairs, rules: Sequence[Rule]) -> Pairs:
    """The record with its fields decoded, and the pairs of Decode_Field at its end."""
    changed: Pairs = []
    extra: Pairs = []
    for key, value in record:
        of_field = [rule for rule in rules if rule.field == key] if isinstance(value, str) else []
        changed.append((key, _decoded(value, of_field, extra) if of_field else value))
    return changed + extra


def _decoded(value: str, rules: Sequence[Rule], extra: Pairs) -> Any:
    """The value after the rules; pairs of Decode_Field go to `extra`."""
    current: Any = value
    for rule in rules:
        if not isinstance(current, str):
            break
        result = _DECODE[rule.backend](current.encode("utf-8", "surrogateescape"))
        if result is not None:
            current = _placed(current, result, rule, extra)
        may_go_on = rule.action == "do_next" or (rule.action == "try_next" and result is None)
        if not may_go_on:
            break
    return current


def _placed(current: str, result: Any, rule: Rule, extra: Pairs) -> Any:
    """A text or a list can't be pairs: without `as_value` it has no place."""
    if isinstance(result, _List | bytes):
        if not rule.as_value:
            return current
        return result.items if isinstance(result, _List) else result.decode("utf-8", "surrogateescape")
    if rule.as_value:
        return dict(result)
    extra += result
    return current
