"""What a LogPlan makes of the bytes of a whole file, as ext/encode.c and ext/plan.c do it piecemeal."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from collector.plan import Field, Framing, Layout, LogPlan, Merge, Op
from tests.reference.cri import parse_line, parse_time
from tests.reference.docker import parse_docker
from tests.reference.json_msgpack import pack_pairs, parse_object
from tests.reference.pairs import Object

Pairs = list[tuple[str, Any]]
SLACK_BYTES = 256  # PW_LOG_SLACK_BYTES


class Found(NamedTuple):
    """What the framing made of a line or of several: the record before the plan's steps."""

    time_ns: int
    pairs: Pairs
    is_unparsed: bool
    cut_bytes: int
    offset: int


@dataclass
class Encoded:
    entries: bytes = b""
    records: int = 0
    unparsed: int = 0
    cut: int = 0
    cut_bytes: int = 0
    skipped: int = 0
    skipped_bytes: int = 0


def encode(data: bytes, plan: LogPlan, now_ns: int, max_record_bytes: int) -> Encoded:
    """Entries of the whole file, its unterminated last line and its open records included."""
    result = Encoded()
    for found in _framed(data, plan, now_ns, max_record_bytes, result):
        pairs = list(found.pairs)
        if plan.layout.offset:
            pairs.append((plan.layout.offset, found.offset))
        if found.cut_bytes:
            pairs.append(("truncated", True))
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


def _lines(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Lines with their offsets, without newline, and without NULs at their start; the last may lack its
    newline."""
    *lines, rest = data.split(b"\n")
    offset = 0
    for line in lines:
        stripped = line.lstrip(b"\0")
        yield offset + len(line) - len(stripped), stripped
        offset += len(line) + 1
    if rest.lstrip(b"\0"):
        yield offset + len(rest) - len(rest.lstrip(b"\0")), rest.lstrip(b"\0")


def _framed(data: bytes, plan: LogPlan, now_ns: int, limit: int, result: Encoded) -> Iterator[Found]:
    joined = _Joiner(plan.layout, limit)
    for offset, line in _lines(data):
        stripped = line[:-1] if len(line) >= 2 and line.endswith(b"\r") else line
        if plan.skips_empty and not stripped:
            continue
        if plan.skips_long and len(stripped) > limit + SLACK_BYTES:
            result.skipped += 1
            result.skipped_bytes += len(stripped)
        elif plan.framing in (Framing.LINE, Framing.JSON):
            yield _plain(stripped, offset, plan, now_ns, limit)
        else:
            yield from _container_line(line, stripped, offset, plan, now_ns, limit, joined)
    yield from joined.flush()


def _container_line(
    line: bytes, stripped: bytes, offset: int, plan: LogPlan, now_ns: int, limit: int, joined: _Joiner
) -> Iterator[Found]:
    reads_docker = plan.framing in (Framing.DOCKER_JOINED, Framing.CONTAINER_JOINED)
    docker = parse_docker(stripped) if reads_docker and len(stripped) <= limit else None
    parsed = None if docker or plan.framing == Framing.DOCKER_JOINED else parse_line(stripped)
    if docker is not None:
        yield from joined.take(Part(docker.time, docker.time_ns, docker.stream, b"", docker.log,
                                    not docker.log.endswith(b"\n"), offset, docker.pairs))  # fmt: skip
    elif parsed is None:
        pairs, cut_bytes = _content(plan.layout.raw, line, limit)
        yield Found(now_ns, pairs, True, cut_bytes, offset)
    else:
        is_partial = parsed.is_partial and plan.framing != Framing.CRI
        part = Part(*parsed, is_partial, offset, None)
        yield from joined.take(part)


def _plain(line: bytes, offset: int, plan: LogPlan, now_ns: int, limit: int) -> Found:
    if plan.framing == Framing.JSON:
        found = parse_object(_text(line)) if len(line) <= limit else None
        if found is not None:
            return Found(_own_time_ns(found, plan.layout.time, now_ns), found.pairs, False, 0, offset)
        pairs, cut_bytes = _content(plan.layout.raw, line, limit)
        return Found(now_ns, pairs, True, cut_bytes, offset)
    pairs, cut_bytes = _content(plan.layout.content, line, limit)
    return Found(now_ns, pairs, False, cut_bytes, offset)


def _own_time_ns(record: Object, key: str, now_ns: int) -> int:
    value = next((value for its, value in record.pairs if its == key), None) if key else None
    found = parse_time(value.encode("utf-8", "surrogateescape")) if isinstance(value, str) else None
    return now_ns if found is None else found


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def _content(key: str, content: bytes, limit: int) -> tuple[Pairs, int]:
    pairs = [(key, _text(content[:limit]))] if key else []
    return pairs, len(content[limit:])


class Part(NamedTuple):
    """A line of a container's log; `pairs` are those of docker's object."""

    time: bytes
    time_ns: int
    stream: bytes
    logtag: bytes
    content: bytes
    is_partial: bool
    offset: int
    pairs: Pairs | None


class _Joiner:
    """Parts of one stream up to the one that is not partial; time and tag are the first part's."""

    def __init__(self, layout: Layout, limit: int) -> None:
        self.layout = layout
        self.limit = limit
        self.open: dict[bytes, list[Part]] = {}  # in the order of their first parts

    def take(self, part: Part) -> Iterator[Found]:
        self.open.setdefault(part.stream, []).append(part)
        if not part.is_partial:
            yield self._record(self.open.pop(part.stream), is_whole=True)

    def flush(self) -> Iterator[Found]:
        yield from (self._record(parts, is_whole=False) for parts in self.open.values())

    def _record(self, parts: list[Part], *, is_whole: bool) -> Found:
        first, last, layout = parts[0], parts[-1], self.layout
        content = b"".join(part.content for part in parts)
        kept, cut_bytes = content[: self.limit], len(content[self.limit :])
        named = {"log": (layout.content, kept), "stream": (layout.stream, first.stream),
                 "time": (layout.time, first.time)}  # fmt: skip
        head = [named["time"], named["stream"], (layout.logtag, first.logtag), named["log"]]
        pairs = [(key, _text(text)) for key, text in head if key]
        if last.pairs is not None:
            pairs = _in_dockers_order(last.pairs if is_whole else [], named)
        return Found(first.time_ns, pairs, False, cut_bytes, first.offset)


def _in_dockers_order(pairs: Pairs, named: dict[str, tuple[str, bytes]]) -> Pairs:
    """The object with the record's log, stream and time at their first places; what it lacks follows."""
    result: Pairs = []
    for key, value in pairs:
        if key in named:
            name, text = named.pop(key)
            result += [(name, _text(text))] if name else []
        else:
            result.append((key, value))
    return result + [(name, _text(text)) for name, text in named.values() if name]
