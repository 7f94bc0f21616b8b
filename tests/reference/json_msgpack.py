"""JSON to values and values to msgpack, as ext/json.c and ext/msgpack.h do it.

Text is str decoded with surrogateescape, so bytes that are no UTF-8 pass through.
"""

from __future__ import annotations

import math
import re
import struct
from typing import Any, NoReturn

from tests.reference.pairs import Object

MAX_DEPTH = 128
SPACE = " \t\n\r"
ESCAPED = {'"': '"', "\\": "\\", "/": "/", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
HEX4 = re.compile(r"[0-9a-fA-F]{4}")
LITERALS = {"true": True, "false": False, "null": None}


class NotJson(Exception):
    """The text is not exactly one JSON object that msgpack can hold."""


def parse_object(text: str) -> Object | None:
    """The object that the text is, with nothing but white space around; None: it is not."""
    try:
        parser = _Parser(text)
        parser.space()
        if not parser.text.startswith("{", parser.at):
            return None
        value: Object = parser.value(1)
        parser.space()
        return value if parser.at == len(text) else None
    except NotJson:
        return None


class _Parser:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def fail(self) -> NoReturn:
        raise NotJson

    def space(self) -> None:
        while self.at < len(self.text) and self.text[self.at] in SPACE:
            self.at += 1

    def take(self, wanted: str) -> bool:
        self.space()
        found = self.text.startswith(wanted, self.at)
        self.at += len(wanted) if found else 0
        return found

    def value(self, depth: int) -> Any:
        """`depth` is that of a map or array that starts here."""
        self.space()
        if self.take("{"):
            return self.object(depth)
        if self.take("["):
            return self.array(depth)
        if self.take('"'):
            return self.string()
        for text, value in LITERALS.items():
            if self.take(text):
                return value
        return self.number()

    def object(self, depth: int) -> Object:
        pairs: list[tuple[str, Any]] = []
        if depth > MAX_DEPTH:
            self.fail()
        if self.take("}"):
            return Object(pairs)
        while True:
            if not self.take('"'):
                self.fail()
            key = self.string()
            if not self.take(":"):
                self.fail()
            pairs.append((key, self.value(depth + 1)))
            if self.take("}"):
                return Object(pairs)
            if not self.take(","):
                self.fail()

    def array(self, depth: int) -> list[Any]:
        items: list[Any] = []
        if depth > MAX_DEPTH:
            self.fail()
        if self.take("]"):
            return items
        while True:
            items.append(self.value(depth + 1))
            if self.take("]"):
                return items
            if not self.take(","):
                self.fail()

    def number(self) -> int | float:
        match = NUMBER.match(self.text, self.at)
        if not match:
            self.fail()
        self.at = match.end()
        if not match[1] and not match[2] and len(match[0]) < 25 and -(1 << 63) <= int(match[0]) < 1 << 64:
            return int(match[0])
        if math.isinf(float(match[0])):
            self.fail()
        return float(match[0])

    def string(self) -> str:
        made = ""
        while True:
            if self.at >= len(self.text):
                self.fail()
            character = self.text[self.at]
            self.at += 1
            if character == '"':
                return made
            if character < " ":
                self.fail()
            made += self.escape() if character == "\\" else character

    def escape(self) -> str:
        letter = self.text[self.at : self.at + 1]
        self.at += 1
        if letter != "u":
            return ESCAPED[letter] if letter in ESCAPED else self.fail()
        unit = self.hex4()
        if 0xD800 <= unit < 0xDC00 and self.text.startswith("\\u", self.at):
            self.at += 2
            low = self.hex4()
            if not 0xDC00 <= low < 0xE000:
                self.fail()
            return chr(0x10000 + ((unit - 0xD800) << 10) + (low - 0xDC00))
        if 0xD800 <= unit < 0xE000:
            self.fail()
        return chr(unit)

    def hex4(self) -> int:
        match = HEX4.match(self.text, self.at)
        if not match:
            self.fail()
        self.at += 4
        return int(match[0], 16)


def pack(value: Any) -> bytes:
    """The shortest msgpack of a value; floats are always float64."""
    if value is None:
        return b"\xc0"
    if isinstance(value, bool):
        return b"\xc3" if value else b"\xc2"
    if isinstance(value, int):
        return _pack_int(value)
    if isinstance(value, float):
        return b"\xcb" + struct.pack(">d", value)
    if isinstance(value, str):
        encoded = value.encode("utf-8", "surrogateescape")
        return _head(len(encoded), 32, 0xA0, (0xD9, 0xDA, 0xDB)) + encoded
    if isinstance(value, list):
        return _head(len(value), 16, 0x90, (None, 0xDC, 0xDD)) + b"".join(map(pack, value))
    pairs = list(value.items()) if isinstance(value, dict) else value.pairs
    return pack_pairs(pairs)


def pack_pairs(pairs: list[tuple[Any, Any]]) -> bytes:
    """A map of these pairs, in their order, doubles included."""
    body = b"".join(pack(key) + pack(value) for key, value in pairs)
    return _head(len(pairs), 16, 0x80, (None, 0xDE, 0xDF)) + body


def _head(count: int, short: int, short_code: int, codes: tuple[int | None, int, int]) -> bytes:
    if count < short:
        return bytes([short_code | count])
    for code, width, limit in zip(codes, (1, 2, 4), (1 << 8, 1 << 16, 1 << 32), strict=True):
        if code is not None and count < limit:
            return bytes([code]) + count.to_bytes(width, "big")
    raise OverflowError(count)


def _pack_int(value: int) -> bytes:
    if -32 <= value < 128:
        return value.to_bytes(1, "big", signed=value < 0)
    first, signed = (0xD0, True) if value < 0 else (0xCC, False)
    for index, width in enumerate((1, 2, 4, 8)):
        try:
            return bytes([first + index]) + value.to_bytes(width, "big", signed=signed)
        except OverflowError:
            continue
    raise OverflowError(value)
