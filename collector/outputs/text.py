"""Records as text: JSON, and the notation in which Fluent Bit prints msgpack."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

import msgpack

from collector.delivery.chunk import Packed
from collector.entries import Pairs, unpack_entries

DATE_FORMATS = ("double", "epoch", "epoch_ms", "iso8601", "java_sql_timestamp")
_NS_PER_S = 1_000_000_000

# Maps and lists in each other; the decoder takes 500, for which Python's stack does not suffice here.
MAX_DEPTH = 150
TOO_DEEP = "(nested too deeply)"


FORMATS = ("json", "json_lines", "json_stream")
_FRAMES = {"json": ("[", ",", "]"), "json_lines": ("", "\n", "\n"), "json_stream": ("", "", "")}


def _refuse(value: object) -> None:
    raise TypeError  # bytes, those of an extension included


_ENCODE = json.JSONEncoder(allow_nan=False, separators=(",", ":"), default=_refuse).encode


def as_json(pairs: Pairs) -> str:
    """One JSON object in one line, repeated keys included. What JSON can't hold is spelled:

    bytes that are no UTF-8 as U+FFFD, extensions as hex digits, NaN and infinities as null.
    """
    try:
        record = dict(pairs)
        text = _ENCODE(record)
    except (TypeError, ValueError, RecursionError):
        return _as_json(pairs)
    # Repeated keys, and what is no UTF-8, which the decoder has put into U+DC80 to U+DCFF.
    return text if len(record) == len(pairs) and "\\udc" not in text else _as_json(pairs)


def framed(objects: Iterable[str], form: str) -> Iterator[str]:
    """JSON objects as one of FORMATS, in pieces."""
    opening, separator, closing = _FRAMES[form]
    for number, one in enumerate(objects):
        yield (separator if number else opening) + one
    yield closing


def json_objects(entries: Packed, date_key: str, date_format: str) -> Iterator[str]:
    """Each entry as a JSON object that begins with its time; `false` for `date_key` leaves that out.

    Raises ValueError for entries that are none.
    """
    dated = date_key.lower() not in ("false", "off", "no")
    for time_ns, pairs in unpack_entries(entries):
        yield as_json([(date_key, date(time_ns, date_format)), *pairs] if dated else pairs)


def _as_json(pairs: Iterable[tuple[Any, Any]], depth: int = 0) -> str:
    return "{" + ",".join(f"{_json_text(key)}:{_json(value, depth)}" for key, value in pairs) + "}"


def _json(value: Any, depth: int) -> str:
    if isinstance(value, str | bytes):
        return _json_text(value)
    if depth > MAX_DEPTH and isinstance(value, dict | list):
        return json.dumps(TOO_DEEP)
    if isinstance(value, dict):
        return _as_json(value.items(), depth + 1)
    if isinstance(value, list | tuple) and not isinstance(value, msgpack.ExtType):
        return "[" + ",".join(_json(one, depth + 1) for one in value) + "]"
    if isinstance(value, msgpack.ExtType):
        return json.dumps(value.data.hex())
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return "null"
    return json.dumps(value)


def _json_text(value: Any) -> str:
    return json.dumps(plain_text(value))


def plain_text(value: Any) -> str:
    """A key or text as valid Unicode; a key that is neither text nor binary as JSON writes it."""
    if isinstance(value, str):
        value = value.encode("utf-8", "surrogateescape")
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return json.dumps(value) if value is None or isinstance(value, bool) else str(value)


def date(time_ns: int, form: str) -> int | float | str:
    """A time in one of DATE_FORMATS, as Fluent Bit's outputs write it."""
    if form == "epoch":
        return time_ns // _NS_PER_S
    if form == "epoch_ms":
        return time_ns // 1_000_000
    if form == "double":
        return time_ns / _NS_PER_S
    moment = datetime.fromtimestamp(time_ns // _NS_PER_S, UTC)
    separator, zone = ("T", "Z") if form == "iso8601" else (" ", "")
    return f"{moment:%Y-%m-%d{separator}%H:%M:%S}.{time_ns // 1000 % 1_000_000:06}{zone}"


def seconds(time_ns: int) -> str:
    """`1700000000.123456789`"""
    return f"{time_ns // _NS_PER_S}.{time_ns % _NS_PER_S:09}"


# A log line must not move the cursor of a terminal, or pretend to be a line of its own.
_CONTROL = {code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0))} | {
    ord("\n"): "\\n",
    ord("\r"): "\\r",
    ord("\t"): "\\t",
}


def as_pairs(pairs: Pairs, depth: int = 0) -> str:
    """`{"key"=>"value", "number"=>1}`: msgpack-c's msgpack_object_print, control characters escaped."""
    return "{" + ", ".join(f"{printed(key)}=>{printed(value, depth)}" for key, value in pairs) + "}"


def quoted(value: Any) -> str:
    """A text in double quotes, control characters escaped."""
    return '"' + plain_text(value).translate(_CONTROL) + '"'


def printed(value: Any, depth: int = 0) -> str:
    """A value in the notation of `as_pairs`."""
    if value is None:
        return "nil"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:f}"
    if depth > MAX_DEPTH and isinstance(value, dict | list):
        return f'"{TOO_DEEP}"'
    if isinstance(value, dict):
        return as_pairs(list(value.items()), depth + 1)
    if isinstance(value, msgpack.ExtType):
        return f'(ext: {value.code})"{value.data.hex()}"'
    if isinstance(value, list | tuple):
        return "[" + ", ".join(printed(one, depth + 1) for one in value) + "]"
    return quoted(value) if isinstance(value, str | bytes) else str(value)
