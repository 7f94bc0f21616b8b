"""What the tests of the log core feed it: random lines, random plans, and a file that arrives in pieces."""

from __future__ import annotations

import json
from collections.abc import Sequence

from hypothesis import strategies as st

from collector.delivery.chunk import FileKey, Position
from collector.native import logs
from collector.native.logs import Arena, LogBatch, LogStream
from collector.plan import (
    CRI_JOINED_LAYOUT,
    CRI_LAYOUT,
    Field,
    Framing,
    Layout,
    LogPlan,
    Merge,
    Op,
)
from tests.reference.plan import Encoded

NOW_NS = 1_700_000_000_123_456_789
KEYS = ("log", "message", "time", "stream", "a", "b", "kubernetes", "truncated", "k" * 40)

TIMES = st.one_of(
    st.sampled_from(
        [
            b"2024-02-29T23:59:59.123456789Z",
            b"2024-02-29T23:59:59Z",
            b"2024-02-29T23:58:59.5+05:30",
            b"1969-12-31T23:00:00-02:00",
            b"2106-02-07T06:28:15.999999999Z",
            b"2106-02-07T06:28:16Z",
            b"2023-02-29T00:00:00Z",
            b"2024-13-01T00:00:00Z",
            b"2016-12-31T23:59:60.25Z",
            b"2024-01-01T00:00:00.Z",
            b"2024-01-01T00:00:00.1234567890Z",
            b"2024-01-01T24:00:00Z",
            b"2024-01-01 00:00:00Z",
            b"2024-01-01T00:00:00+1:00",
        ]
    ),
    st.datetimes().map(lambda time: time.strftime("%Y-%m-%dT%H:%M:%S.%f000Z").rjust(30, "0").encode()),
)
LOGTAGS = st.sampled_from(
    [
        b"F",
        b"F",
        b"F",
        b"P",
        b"P",
        b"P",
        b"F:x",
        b"P:x:y",
        b"X",
        b"FF",
        b"",
        b"P:" + b"t" * 62,
        b"F:" + b"t" * 63,
    ]
)

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(1 << 70), 1 << 70),
    st.integers(-300, 300),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=40),
    st.sampled_from(["x\n", "\n", "\n\n", "a\\n", "\\n", "a\\r\n\\n\n", '{"a":1}', "é\n"]),
)
JSON_VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=20), st.dictionaries(st.sampled_from(KEYS), inner, max_size=20)
    ),
    max_leaves=20,
)


@st.composite
def json_objects(draw: st.DrawFn) -> bytes:
    """An object as text, its keys maybe double, with and without white space, escaped or not."""
    pairs = draw(st.lists(st.tuples(st.sampled_from(KEYS), JSON_VALUES), max_size=20))
    ascii_only, indent = draw(st.booleans()), draw(st.sampled_from([None, None, 1]))
    texts = [
        json.dumps(key) + ":" + json.dumps(value, ensure_ascii=ascii_only, indent=indent).replace("\n", "\t")
        for key, value in pairs
    ]
    space = draw(st.sampled_from(["", "", " ", "\t \r"]))
    return (space + "{" + ",".join(texts) + space + "}" + space).encode("utf-8", "surrogatepass")


@st.composite
def mutated(draw: st.DrawFn, source: st.SearchStrategy[bytes]) -> bytes:
    """Bytes of the source with one of them replaced, removed or put in."""
    text = bytearray(draw(source))
    at = draw(st.integers(0, len(text)))
    text[at : at + draw(st.integers(0, 2))] = draw(
        st.one_of(
            st.binary(max_size=3), st.sampled_from([b"\\", b'"', b"{", b"}", b",", b"0", b"\\u", b"e9"])
        )
    )
    return bytes(text).replace(b"\n", b" ")


CONTENTS = st.one_of(
    st.binary(max_size=60).map(lambda raw: raw.replace(b"\n", b"")),
    st.sampled_from([b"", b"\r", b"x\r", b"{", b"{}", b"  {}  ", b"plain text", b'{"log":"{}"}']),
    st.integers(0, 700).map(lambda length: b"x" * length),
    json_objects(),
    mutated(json_objects()),
)


@st.composite
def cri_lines(draw: st.DrawFn) -> bytes:
    stream = draw(st.sampled_from([b"stdout", b"stdout", b"stderr", b"stdin"]))
    space = draw(st.sampled_from([b" ", b" ", b" ", b"  ", b""]))
    return b" ".join([draw(TIMES), stream, draw(LOGTAGS)]) + space + draw(CONTENTS)


@st.composite
def docker_lines(draw: st.DrawFn) -> bytes:
    """As docker writes them, mostly: keys may be missing, double, in another order, or of another kind."""
    log = draw(st.text(max_size=30)) + draw(st.sampled_from(["\n", "\n", "", "\n\n"]))
    pairs = [
        ("log", draw(st.sampled_from([log, log, log, 7]))),
        ("stream", draw(st.sampled_from(["stdout", "stdout", "stderr", "stdin"]))),
        ("time", draw(TIMES).decode()),
        *draw(st.lists(st.tuples(st.sampled_from(KEYS), JSON_VALUES), max_size=3)),
    ]
    if draw(st.booleans()):
        pairs = draw(st.permutations(pairs))[: draw(st.integers(1, len(pairs)))]
    texts = [json.dumps(key) + ":" + json.dumps(value) for key, value in pairs]
    return b"{" + ",".join(texts).encode() + b"}"


LINES = st.one_of(
    cri_lines(), cri_lines(), docker_lines(), CONTENTS, mutated(cri_lines()), mutated(docker_lines())
)


@st.composite
def files(draw: st.DrawFn) -> bytes:
    """Lines, some with carriage returns or NULs before them; the last maybe without its newline."""
    lines = draw(st.lists(LINES, max_size=12))
    ends = [draw(st.sampled_from([b"\n", b"\n", b"\n", b"\r\n", b"\n\0\0"])) for _ in lines]
    ends_open = draw(st.booleans())
    if ends and ends_open:
        ends[-1] = b""
    return b"".join(line + end for line, end in zip(lines, ends, strict=True))


FIELD_VALUES = st.one_of(
    st.text(max_size=5), st.integers(), st.sampled_from(['{"a":1,"log":2}', {"a": 1}, {}])
)
FIELDS = st.builds(
    Field, st.sampled_from(list(Op)), st.sampled_from(KEYS), FIELD_VALUES.filter(lambda value: value != "")
).filter(lambda field: not isinstance(field.value, int) or -(1 << 63) <= field.value < 1 << 64)
MERGES = st.builds(
    Merge,
    st.sampled_from(["log", "message", "a", "kubernetes"]),
    st.sampled_from(["", "", "a", "merged"]),
    st.booleans(),
    st.booleans(),
)
LAYOUTS = st.one_of(
    st.sampled_from([CRI_LAYOUT, CRI_JOINED_LAYOUT, Layout()]),
    st.builds(Layout, *[st.sampled_from(["", "time", "log", "a"]) for _ in range(6)]),
)


@st.composite
def plans(draw: st.DrawFn) -> LogPlan:
    steps: list[Field | Merge] = list(draw(st.lists(FIELDS, max_size=6)))
    merge = draw(st.one_of(st.none(), MERGES))
    if merge:
        steps.insert(draw(st.integers(0, len(steps))), merge)
    framing, layout = draw(st.sampled_from(list(Framing))), draw(LAYOUTS)
    return LogPlan(framing, layout, tuple(steps), draw(st.booleans()), draw(st.booleans()))


@st.composite
def direct_plans(draw: st.DrawFn) -> LogPlan:
    """Plans whose steps come to the same for most records: what is merged is the content, and first."""
    layout = draw(st.sampled_from([CRI_LAYOUT, CRI_JOINED_LAYOUT, Layout(), Layout("b", "b", "", "a")]))
    framing = draw(st.sampled_from([Framing.LINE, Framing.CRI, Framing.CRI_JOINED, Framing.CONTAINER_JOINED]))
    merge = Merge(layout.content, "", draw(st.booleans()), draw(st.booleans()))
    fields = draw(st.lists(FIELDS, max_size=6))
    steps: list[Field | Merge] = [
        merge,
        *(field for field in fields if field.op != Op.ADD or field.key != layout.content),
    ]
    if draw(st.booleans()):
        del steps[0]
    return LogPlan(framing, layout, tuple(steps))


VECTORS = st.integers(0, logs.VECTORS)
LIMITS = st.sampled_from([8, 40, 300, 1 << 20])


# Few records fit, and some none, whose output is memory of their own.
SLAB_BYTES = 200


class Follower:
    """A reader of a growing file: keeps what was not consumed, and each place it could restart from.

    Its arena is its own and as small as it may be, so that outputs become full.
    """

    def __init__(
        self,
        plan: LogPlan,
        limit: int,
        vectors: int = logs.VECTORS,
        *,
        is_direct: bool = True,
        slab_bytes: int = SLAB_BYTES,
    ) -> None:
        logs.ARENA = Arena(slab_bytes=slab_bytes)
        self.stream = LogStream(plan, max_record_bytes=limit)
        self.stream.native_plan.vectors = vectors
        self.stream.native_plan.direct.is_on &= is_direct
        self.offset = 0
        self.pending = b""
        self.total = Encoded()
        self.places: list[tuple[Position, bytes]] = []

    def feed(self, data: bytes, *, end: bool = False) -> LogBatch:
        self.pending += data
        batch = self.stream.encode(self.pending, self.offset, NOW_NS, end=end)
        self.pending = self.pending[batch.consumed :]
        self.offset += batch.consumed
        self._add(batch)
        position = Position(FileKey(1, 2), "0.log", self.offset, batch.partials)
        self.places.append((position, self.total.entries))
        return batch

    def _add(self, batch: LogBatch) -> None:
        self.total.entries += bytes(batch.entries)
        self.total.records += batch.records
        self.total.unparsed += batch.unparsed
        self.total.cut += batch.cut
        self.total.cut_bytes += batch.cut_bytes
        self.total.skipped += batch.skipped
        self.total.skipped_bytes += batch.skipped_bytes

    def resume(self, position: Position) -> None:
        self.offset = self.stream.resume(position)


def follow(
    data: bytes,
    plan: LogPlan,
    limit: int,
    cuts: Sequence[int] = (),
    vectors: int = logs.VECTORS,
    *,
    is_direct: bool = True,
) -> Follower:
    """The whole file, arriving up to each of the cuts and then the rest."""
    follower = Follower(plan, limit, vectors, is_direct=is_direct)
    start = 0
    for cut in sorted(cuts):
        follower.feed(data[start:cut])
        start = cut
    follower.feed(data[start:], end=True)
    return follower
