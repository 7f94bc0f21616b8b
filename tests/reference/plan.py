"""What a LogPlan makes of the bytes of a whole file, as ext/encode.c and ext/plan.c do it piecemeal."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from collector.plan import Field, Framing, Layout, LogPlan, Merge, Op
from tests.reference.cri import CriLine, parse_line
from tests.reference.json_msgpack import pack_pairs, parse_object
from tests.reference.pairs import Object

Pairs = list[tuple[str, Any]]


class Found(NamedTuple):
    """What the framing made of a line or of several: the record before the plan's steps."""

    time_ns: int
    pairs: Pairs
    is_unparsed: bool
    cut_bytes: int


@dataclass
class Encoded:
    entries: bytes = b""
    records: int = 0
    unparsed: int = 0
    cut: int = 0
    cut_bytes: int = 0


def encode(data: bytes, plan: LogPlan, now_ns: int, max_record_bytes: int) -> Encoded:
    """Entries of the whole file, its unterminated last line and its open records included."""
    result = Encoded()
    for found in _framed(data, plan, now_ns, max_record_bytes):
        pairs = found.pairs + ([("truncated", True)] if found.cut_bytes else [])
        for step in plan.steps:
            pairs = merged(pairs, step) if isinstance(step, Merge) else changed(pairs, step)
        result.entries += entry(found.time_ns, pairs)
        result.records += 1
        result.unparsed += found.is_unparsed
        result.cut += found.cut_bytes > 0
        result.cut_bytes += found.cut_bytes
    return result


def entry(time_ns: int, pairs: Pairs) -> bytes:
    seconds, nanoseconds = divmod(time_ns, 1_000_000_000)
    return b"\x92\xd7\x00" + struct.pack(">II", seconds, nanoseconds) + pack_pairs(pairs)


def changed(pairs: Pairs, step: Field) -> Pairs:
    here = any(key == step.key for key, _ in pairs)
    others = [pair for pair in pairs if pair[0] != step.key]
    new = [(step.key, step.value)]
    if step.op == Op.APPEND:
        return pairs + new
    if step.op == Op.ADD:
        return pairs if here else pairs + new
    return others + new if step.op == Op.SET else others


def merged(pairs: Pairs, step: Merge) -> Pairs:
    """Fluent Bit's plugins/filter_kubernetes/kubernetes.c, pack_map_content()."""
    index = next((index for index, (key, _) in enumerate(pairs) if key == step.key), None)
    if index is None:
        return pairs
    lifted = _lifted(pairs[index][1], step.trim)
    if lifted is None:
        return pairs
    kept = pairs if step.keep else pairs[:index] + pairs[index + 1 :]
    if step.under and lifted:
        return [*kept, (step.under, Object(lifted))]
    return kept + lifted


def _lifted(value: Any, trim: bool) -> Pairs | None:
    if isinstance(value, Object):
        return value.pairs
    if isinstance(value, dict):
        return list(value.items())
    found = parse_object(value) if isinstance(value, str) else None
    if found is None:
        return None
    if not trim:
        return found.pairs
    return [(key, trimmed(value) if isinstance(value, str) else value) for key, value in found.pairs]


def trimmed(text: str) -> str:
    """Without newlines, and the two characters `\\n` or `\\r`, at the end; not the first character alone."""
    while len(text) > 1:
        if text.endswith("\n"):
            text = text[:-1]
        elif text.endswith(("\\n", "\\r")):
            text = text[:-2]
        else:
            break
    return text


def _lines(data: bytes) -> Iterator[bytes]:
    """Lines without newline, and without NULs at their start; the last may lack its newline."""
    *lines, rest = data.split(b"\n")
    for line in lines:
        yield line.lstrip(b"\0")
    if rest.lstrip(b"\0"):
        yield rest.lstrip(b"\0")


def _framed(data: bytes, plan: LogPlan, now_ns: int, limit: int) -> Iterator[Found]:
    joined = _Joiner(plan.layout, limit)
    for line in _lines(data):
        stripped = line[:-1] if len(line) >= 2 and line.endswith(b"\r") else line
        if plan.framing in (Framing.LINE, Framing.JSON):
            yield _plain(stripped, plan, now_ns, limit)
            continue
        parsed = parse_line(stripped)
        if parsed is None:
            pairs, cut_bytes = _content(plan.layout.raw, line, limit)
            yield Found(now_ns, pairs, True, cut_bytes)
        elif plan.framing == Framing.CRI:
            yield _record(plan.layout, parsed, parsed.content, limit)
        else:
            yield from joined.take(parsed)
    yield from joined.flush()


def _plain(line: bytes, plan: LogPlan, now_ns: int, limit: int) -> Found:
    if plan.framing == Framing.JSON:
        found = parse_object(_text(line)) if len(line) <= limit else None
        if found is not None:
            return Found(now_ns, found.pairs, False, 0)
        pairs, cut_bytes = _content(plan.layout.raw, line, limit)
        return Found(now_ns, pairs, True, cut_bytes)
    pairs, cut_bytes = _content(plan.layout.content, line, limit)
    return Found(now_ns, pairs, False, cut_bytes)


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def _content(key: str, content: bytes, limit: int) -> tuple[Pairs, int]:
    pairs = [(key, _text(content[:limit]))] if key else []
    return pairs, len(content[limit:])


def _record(layout: Layout, first: CriLine, content: bytes, limit: int) -> Found:
    head = ((layout.time, first.time), (layout.stream, first.stream), (layout.logtag, first.logtag))
    pairs, cut_bytes = _content(layout.content, content, limit)
    return Found(first.time_ns, [(key, _text(text)) for key, text in head if key] + pairs, False, cut_bytes)


class _Joiner:
    """Parts of one stream up to the one that is not partial; time and tag are the first part's."""

    def __init__(self, layout: Layout, limit: int) -> None:
        self.layout = layout
        self.limit = limit
        self.open: dict[bytes, list[CriLine]] = {}  # in the order of their first parts

    def take(self, line: CriLine) -> Iterator[Found]:
        self.open.setdefault(line.stream, []).append(line)
        if not line.is_partial:
            yield self._record(self.open.pop(line.stream))

    def flush(self) -> Iterator[Found]:
        yield from map(self._record, self.open.values())

    def _record(self, parts: list[CriLine]) -> Found:
        return _record(self.layout, parts[0], b"".join(part.content for part in parts), self.limit)
