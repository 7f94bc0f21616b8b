"""What a request to the input `http` holds, without I/O: records, and the tag of each.

Source: plugins/in_http/http_prot.c of Fluent Bit. A JSON object is a record, of an
array each object is one, and so is each of several objects in a row, as Fluent Bit
sends json_lines and json_stream under application/json, and each line of
application/x-ndjson; a form is one record of texts.
"""

from __future__ import annotations

import json
import re
import urllib.parse
from collections.abc import Iterator
from typing import Any

from collector import compression
from collector.entries import Pairs
from collector.parsers.decoders import json_object

_NOT_IN_TAG = re.compile(r"[^A-Za-z0-9_.]")
MAX_TAG_CHARACTERS = 1024
MAX_FORM_FIELDS = 1000


class BadBody(ValueError):
    """The request can't be taken; the text says why."""


def tag_of(path: str) -> str:
    """`/app.log` is `app.log`, `/a/b` is `a_b`; "" for `/`."""
    return _NOT_IN_TAG.sub("_", path[1:])[:MAX_TAG_CHARACTERS]


def unpacked(body: bytes, encoding: str, limit_bytes: int) -> bytes:
    """Raises BadBody."""
    name = encoding.strip().lower()
    if name in ("", "identity"):
        return body
    if name not in ("gzip", "zstd") or (name == "zstd" and not compression.has_zstd()):
        raise BadBody(f"the Content-Encoding {name[:40]} is not one that can be unpacked")
    try:
        return compression.decompress(body, name, limit_bytes)
    except compression.TooLarge:
        raise BadBody(f"the body is larger than {limit_bytes} bytes once it is unpacked") from None
    except ValueError as reason:
        raise BadBody(f"the body is not {name}: {reason}") from None


def records(body: bytes, content_type: str) -> list[Pairs]:
    """Raises BadBody."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind == "application/json":
        return list(_json(body))
    if kind in ("application/x-ndjson", "application/jsonl"):
        return [_object(line, number) for number, line in enumerate(body.splitlines(), 1) if line.strip()]
    if kind == "application/x-www-form-urlencoded":
        return [_form(body)]
    raise BadBody(f"the Content-Type {kind[:80] or '(none)'} is not one that is read; send application/json")


def _json(body: bytes) -> Iterator[Pairs]:
    text = body.strip()
    if text.startswith(b"["):
        for number, item in enumerate(_items(text), 1):
            yield _object(item, number)
    elif (only := json_object(text)) is not None:
        yield only
    else:
        for number, item in enumerate(_row(text), 1):
            yield _object(item, number)


def _row(text: bytes) -> Iterator[bytes]:
    """The texts of objects that follow each other, with or without space between them."""
    decoder = json.JSONDecoder()
    at = 0
    try:
        written = text.decode()
        while at < len(written) or not at:
            _, end = decoder.raw_decode(written, at)
            yield written[at:end].encode()
            at = _behind_space(written, end)
    except (ValueError, RecursionError) as reason:
        raise BadBody(f"the body is no JSON: {reason}") from None


def _items(text: bytes) -> Iterator[bytes]:
    """The texts of an array's items, each of which is then read as the log core reads JSON."""
    decoder = json.JSONDecoder()
    try:
        written = text.decode()
        at = _behind_space(written, 1)
        if written[at : at + 1] == "]":
            return
        while True:
            _, end = decoder.raw_decode(written, at)
            yield written[at:end].encode()
            at = _behind_space(written, end)
            separator, at = written[at : at + 1], _behind_space(written, at + 1)
            if separator == "]" and at == len(written):
                return
            if separator != ",":
                raise BadBody("the body is no JSON array")
    except (ValueError, RecursionError) as reason:
        raise BadBody(f"the body is no JSON: {reason}") from None


def _behind_space(text: str, at: int) -> int:
    while at < len(text) and text[at] in " \t\r\n":
        at += 1
    return at


def _object(text: bytes, number: int) -> Pairs:
    found = json_object(text.strip())
    if found is None:
        raise BadBody(f"record {number} is no JSON object")
    return found


def _form(body: bytes) -> Pairs:
    try:
        return list(
            urllib.parse.parse_qsl(
                body.decode("ascii"),
                keep_blank_values=True,
                errors="surrogateescape",
                max_num_fields=MAX_FORM_FIELDS,
            )
        )
    except ValueError as reason:
        raise BadBody(f"the body is no form: {reason}") from None


def tag_in(record: Pairs, key: str) -> Any:
    """The value of the key that names the tag; None where there is no text."""
    found = next((value for name, value in record if name == key), None)
    if not isinstance(found, str) or not found:
        return None
    return "".join(one if one.isprintable() else "_" for one in found)[:MAX_TAG_CHARACTERS]
