"""Lines joined by the stock parsers: each is in one record, in its order, and no record passes its bound."""

from __future__ import annotations

from collector.multiline.built_in import NAMES, built_in
from collector.multiline.joiner import LINE_BYTES, Joined, Joiner

PARSERS = tuple(built_in(name) for name in NAMES)
LIMITS_BYTES = (1 << 20, 200, 40, 1)


def target(data: bytes) -> None:
    """The first byte chooses the parser that is asked first and the bound; the rest are lines."""
    if not data:
        return
    first, limit_bytes = data[0] % len(PARSERS), LIMITS_BYTES[data[0] >> 6]
    joiner: Joiner[int] = Joiner(PARSERS[first:] + PARSERS[:first], limit_bytes)
    lines = data[1:].split(b"\n")
    done: list[Joined[int]] = []
    for number, line in enumerate(lines):
        done += joiner.take(line, number)
        assert joiner.open_bytes <= limit_bytes + 1
    done += joiner.flush()
    assert joiner.flush() == []
    assert joiner.open_context is None
    at = 0
    for record in done:
        assert record.context == at
        check(record, lines[at : at + record.lines], limit_bytes)
        at += record.lines
    assert at == len(lines)


def check(record: Joined[int], lines: list[bytes], limit_bytes: int) -> None:
    whole, text = b"".join(lines), record.text.replace(b"\n", b"")
    if record.cut_bytes:
        assert whole.startswith(text)
        assert len(record.text) + LINE_BYTES * (record.lines - 1) <= limit_bytes + LINE_BYTES * record.lines
    else:
        assert text == whole
