"""Merge_Log on a record that has been decoded: a JSON object or a parsed text in `log` is lifted into it."""

from __future__ import annotations

from typing import Any

from collector.accessor import names
from collector.entries import Pairs
from collector.parsers.decoders import json_object
from collector.parsers.line import TextParser
from collector.plan import Merge
from collector.record import Record


def merged(record: Record, merge: Merge, parser: TextParser | None, now_ns: int) -> tuple[Record, Pairs]:
    """The record without what was lifted, and what was: `joined` puts them together.

    `parser` takes the text apart in JSON's place; one that does not know the text leaves it alone. The time
    that it finds becomes the record's. Of keys that repeat inside a nested map, the last is kept.
    """
    pairs = record.pairs
    index = next((i for i, (one, _) in enumerate(pairs) if names(one, merge.key)), None)
    if index is None:
        return record, []
    found = _lifted(pairs[index][1], parser, now_ns, trim=merge.trim)
    if found is None:
        return record, []
    lifted, time_ns = found
    kept = pairs if merge.keep else pairs[:index] + pairs[index + 1 :]
    if merge.under and lifted:
        lifted = [(merge.under, dict(lifted))]
    return record.like(kept, time_ns), lifted


def _lifted(
    value: Any, parser: TextParser | None, now_ns: int, *, trim: bool
) -> tuple[Pairs, int | None] | None:
    """The pairs of a map, of a text that is exactly one JSON object, or of what the parser finds."""
    if isinstance(value, dict):
        return list(value.items()), None
    if not isinstance(value, str):
        return None
    text = value.encode("utf-8", "surrogateescape")
    if parser is None:
        pairs = json_object(text, trim=trim)
        return None if pairs is None else (pairs, None)
    parsed = parser.parse(text, now_ns)
    if parsed is None:
        return None
    pairs = [(key, trimmed(one) if trim and isinstance(one, str) else one) for key, one in parsed.pairs]
    return pairs, parsed.time_ns


def trimmed(text: str) -> str:
    r"""Without newlines at the end, real ones and `\n` or `\r` in letters; the first character stays."""
    end = len(text)
    while end > 1:
        if text[end - 1] == "\n":
            end -= 1
        elif text[end - 2] == "\\" and text[end - 1] in "nr":
            end -= 2
        else:
            break
    return text[:end]


def joined(pairs: Pairs, more: Pairs, *, is_unique: bool) -> tuple[Pairs, int]:
    """Both; with `is_unique` a key of `more` that is there gets `log_` before it. How many did."""
    if not is_unique:
        return [*pairs, *more], 0
    taken = {key for key, _ in pairs if isinstance(key, str)}
    result, renamed = list(pairs), 0
    for key, value in more:
        name = key
        while isinstance(name, str) and name in taken:
            name = f"log_{name}"
        renamed += name != key
        if isinstance(name, str):
            taken.add(name)
        result.append((name, value))
    return result, renamed
