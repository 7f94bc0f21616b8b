"""What a container may write to harm: made into what the reference makes, at no more work than its length."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from collector.native import logs
from collector.native.logs import LogStream
from collector.plan import CRI_JOINED_LAYOUT, CRI_LAYOUT, Field, Framing, Layout, LogPlan, Merge, Op
from tests.native.log_inputs import NOW_NS, follow
from tests.reference.plan import encode

T = b"2024-02-29T23:59:58.123456789Z"
MERGE = (Field(Op.ADD, "a", 1), Merge(keep=False), Field(Op.SET, "b", 2), Field(Op.REMOVE, "c"))
PLANS = {
    "CRI": LogPlan(Framing.CRI, CRI_LAYOUT),
    "CRI joined": LogPlan(Framing.CRI_JOINED, CRI_JOINED_LAYOUT, MERGE),
    "JSON": LogPlan(Framing.JSON, Layout(), (Field(Op.SET, "b", 2), Field(Op.REMOVE, "c"))),
    "docker or CRI": LogPlan(Framing.CONTAINER_JOINED, CRI_JOINED_LAYOUT, MERGE),
    "lines": LogPlan(Framing.LINE, Layout()),
}


def content(make: Callable[[int], bytes]) -> Callable[[int], bytes]:
    """A file of that many bytes: a record of CRI, which is no line of JSON, and the same as a line."""
    return lambda size: T + b" stdout F " + make(size // 2) + b"\n" + make(size // 2) + b"\n"


def lines(make: Callable[[int], bytes]) -> Callable[[int], bytes]:
    """A file of that many bytes in lines, each from its number."""

    def file(size: int) -> bytes:
        parts: list[bytes] = []
        taken = 0
        while taken < size:
            parts.append(make(len(parts)) + b"\n")
            taken += len(parts[-1])
        return b"".join(parts)

    return file


def pairs(make: Callable[[int], bytes]) -> Callable[[int], bytes]:
    """An object of that many bytes, each pair from its number."""
    return lambda size: b"{" + lines(make)(size).replace(b"\n", b",")[:-1] + b"}"


def nested(opening: bytes, closing: bytes, depth: int) -> Callable[[int], bytes]:
    return lambda size: b'{"a":' + opening * depth + b"0" * (size > 99) + closing * depth + b"}"


def widened(size: int) -> bytes:
    """The deepest maps that are taken, each with a header that grows when it is closed, once and again."""
    one = b'"k":[' + b"[" * 100 + b",".join([b"0"] * 20) + (b"]" + b",0" * 16) * 100 + b"]"
    return b"{" + b",".join([one] * max(1, size // len(one))) + b"}"


def docker(log: bytes, stream: bytes = b"out") -> bytes:
    return b'{"log":"%s","stream":"std%s","time":"%s"}' % (log, stream, T)


HOSTILE: dict[str, Callable[[int], bytes]] = {
    "nothing but NUL": lambda size: b"\0" * size,
    "lines of NUL": lines(lambda number: b"\0" * (number % 50)),
    "NUL in CRI": lines(lambda number: T + b" stdout F a\0b\0" + b"\0" * (number % 40)),
    "no UTF-8": lines(lambda number: T + b" stderr F \xff\xfe\xc0\x80\xed\xa0\x80\xf4\x90\x80\x80" * 2),
    "no UTF-8 in JSON": content(pairs(lambda number: b'"\xff\xc3":"\xed\xa0\x80\xff"')),
    "newlines only": lambda size: b"\n" * size,
    "carriage returns": lambda size: b"\r\n\r\r\n" * (size // 5),
    "arrays without end": content(lambda size: b'{"a":' + b"[" * size),
    "maps without end": content(lambda size: b'{"a":' * (size // 5)),
    "maps 100,000 deep": content(nested(b'{"":', b"}", 100_000)),
    "arrays at the bound": content(nested(b"[", b"]", 126)),
    "arrays beyond the bound": content(nested(b"[", b"]", 127)),
    "headers that grow": content(widened),
    "the same key": content(pairs(lambda number: b'"b":%d' % number)),
    "keys that are removed": content(pairs(lambda number: b'"%c":0' % b"abc"[number % 3])),
    "many keys": content(pairs(lambda number: b'"%d":0' % number)),
    "digits": content(lambda size: b'{"a":' + b"9" * size + b"}"),
    "digits of a fraction": content(lambda size: b'{"a":0.' + b"0" * size + b"1}"),
    "digits of an exponent": content(lambda size: b'{"a":1e' + b"9" * size + b"}"),
    "zeros that an exponent takes back": content(lambda size: b'{"a":1' + b"0" * 300 + b"e-300}"),
    "numbers at the edges of 64 bits": content(
        pairs(lambda number: b'"a":%d' % ((1 << 63 + number % 3) * (-1) ** number + number % 5 - 2))
    ),
    "floats that round": content(pairs(lambda number: b'"a":%d.%d1e-%d' % (number, 3**30, number % 340))),
    "escapes": content(lambda size: b'{"a":"' + b"\\n" * (size // 2) + b'"}'),
    "escapes of surrogates": content(lambda size: b'{"a":"' + b"\\ud83d\\ude00" * (size // 12) + b'"}'),
    "half a surrogate at the end": content(lambda size: b'{"a":"' + b"x" * size + b'\\ud83d"}'),
    "a string without end": content(lambda size: b'{"a":"' + b"x" * size),
    "a quote before the end": content(lambda size: b'{"a":"' + b"\\\\" * (size // 2) + b'\\"}'),
    "spaces": content(lambda size: b" " * size + b"{}" + b" " * 9),
    "objects behind an object": content(lambda size: b"{}" * (size // 2)),
    "objects in strings": content(lambda size: b'{"log":"' + b'{\\"log\\":' * (size // 9) + b'"}'),
    "docker's parts without end": lines(lambda number: docker(b"x")),
    "docker's parts of both streams": lines(lambda number: docker(b"x", (b"out", b"err")[number % 2])),
    "docker's fields twice": lines(lambda number: docker(b"x\\n")[:-1] + b"," + docker(b"y")[1:]),
    "docker's head cut anywhere": lines(lambda number: docker(b"x\\n")[: number % 80]),
    "parts without end": lines(lambda number: T + b" stdout P x"),
    "empty parts": lines(lambda number: T + b" stderr P "),
    "parts of both streams": lines(lambda number: T + b" std%s P x" % (b"out", b"err")[number % 2]),
    "heads cut anywhere": lines(lambda number: (T + b" stdout F x")[: number % 41]),
    "tags that are none": lines(lambda number: T + b" stdout " + b"F:" * (number % 60) + b" x"),
    "streams that are none": lines(lambda number: T + b" std%s F x" % (b"in", b"OUT", b"out ")[number % 3]),
    "times that are none": lines(
        lambda number: (
            b"%04d-%02d-%02dT%02d:59:60.%dZ stdout F x"
            % (1967 + number % 9, number % 14, number % 33, number % 26, 10 ** (number % 12))
        )
    ),
    "times beyond 2106": lines(
        lambda number: b"%04d-02-07T06:28:%02dZ stdout F x" % (2105 + number % 3, number % 62)
    ),
    "zones": lines(lambda number: b"1970-01-01T00:00:00+%02d:%02d stderr F x" % (number % 30, number % 70)),
    "minutes that look alike": lines(lambda number: b"2024-02-29T23:5%c:00Z stdout F x" % (number % 256)),
}


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_text_as_the_reference(name: str, plan: str) -> None:
    """Whole and in pieces, with and without vectors; the small bound cuts most records."""
    data = HOSTILE[name](2_000)[:600_000]
    for limit in (100, 1 << 20):
        expected = encode(data, PLANS[plan], NOW_NS, limit)
        for vectors in range(logs.VECTORS + 1):
            assert follow(data, PLANS[plan], limit, vectors=vectors).total == expected
        assert follow(data, PLANS[plan], limit, [1, 33, len(data) // 2, len(data) - 1]).total == expected


def cost_s(data: bytes, plan: LogPlan) -> float:
    """CPU seconds, the least of some tries."""
    tries = []
    for _ in range(5):
        stream = LogStream(plan)
        start_s = time.thread_time()
        stream.encode(data, 0, NOW_NS, end=True)
        tries.append(time.thread_time() - start_s)
        stream.close()
    return min(tries)


@pytest.mark.parametrize("name", HOSTILE)
def test_twice_the_text_is_twice_the_work(name: str) -> None:
    """Four times the text takes less than nine times as long, where the square would take sixteen."""
    for plan in PLANS.values():
        small, large = (HOSTILE[name](size) for size in (150_000, 600_000))
        if len(large) < 2 * len(small):
            continue  # of one size, by its nature
        assert cost_s(large, plan) < 9 * cost_s(small, plan) + 0.0005, plan
