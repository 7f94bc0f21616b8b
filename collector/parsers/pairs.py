"""Lines of `label:value` between tabs (LTSV) and of `key=value` between spaces (logfmt).

As Fluent Bit reads them, src/flb_parser_ltsv.c and src/flb_parser_logfmt.c; ltsv.org; brandur.org/logfmt.
"""

from __future__ import annotations

import re

from collector.parsers.decoders import unescape_utf8

Found = list[tuple[bytes, bytes | bool]]
"""Key and value; True is a key that has none."""

_LABEL = re.compile(rb"[0-9A-Za-z_.-]*")
_FIELD = re.compile(rb"[^\x00\t\n\r]*")

# Any byte above a space but `=` and `"`.
_IDENT = rb"[^\x00-\x20=\"]"
_PAIR = re.compile(
    rb"[\x00-\x20=\"]*(?P<key>" + _IDENT + rb"+)"
    rb"(?:(?P<equals>=)(?:\"(?P<quoted>(?:[^\\\"]|\\.)*)(?P<cut>\\?)\"?|(?P<bare>" + _IDENT + rb"*)))?",
    re.DOTALL,
)


def ltsv(line: bytes) -> Found:
    """Up to what is no pair, or the end of the line; [] where there is none."""
    found: Found = []
    at = 0
    while at < len(line):
        label = _LABEL.match(line, at)
        assert label is not None
        at = label.end()
        if line[at : at + 1] != b":":
            break
        field = _FIELD.match(line, at + 1)
        assert field is not None
        at = field.end()
        if label[0]:
            found.append((label[0], field[0]))
        at += line[at : at + 1] == b"\t"
        if line[at : at + 1] in (b"\r", b"\n"):
            break
    return found


def logfmt(line: bytes, *, no_bare_keys: bool = False, is_raw: bool = False) -> Found | None:
    """None: a key without `=` where none may be. Text in quotes has its escapes undone.

    `is_raw`: values stay as they are written, and a key without one has an empty text: so Fluent Bit
    hands all of them to the cast when the parser has Types.
    """
    found: Found = []
    at = 0
    while (pair := _PAIR.match(line, at)) is not None:
        at = pair.end()
        if pair["equals"] is None and no_bare_keys:
            return None
        found.append((pair["key"], pair["quoted"] or pair["bare"] or b"" if is_raw else _value(pair)))
        if line[at : at + 1] in (b"\r", b"\n"):
            break
    return found


def _value(pair: re.Match[bytes]) -> bytes | bool:
    quoted = pair["quoted"]
    if quoted is not None:
        return unescape_utf8(quoted) if b"\\" in quoted else quoted
    return pair["bare"] or True
