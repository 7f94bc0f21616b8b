"""Messages of DNS, made by value or drawn by hypothesis: well-formed ones, and such as are nearly so."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from hypothesis import strategies as st

QUESTION_AT = 12
A, CNAME, MX, TXT, AAAA, SRV = 1, 5, 15, 16, 28, 33
RESPONSE, RECURSION = 0x8000, 0x0100


def name(text: str) -> bytes:
    labels = [label for label in text.split(".") if label]
    return b"".join(bytes([len(label)]) + label.encode() for label in labels) + b"\0"


def pointer(at: int) -> bytes:
    return struct.pack("!H", 0xC000 | at)


def query(asked: str, kind: int = A, number: int = 7) -> bytes:
    return struct.pack("!6H", number, RECURSION, 1, 0, 0, 0) + name(asked) + struct.pack("!HH", kind, 1)


def resource(owner: bytes, kind: int, content: bytes, ttl_s: int = 300) -> bytes:
    return owner + struct.pack("!HHIH", kind, 1, ttl_s, len(content)) + content


def answer(
    asked: str, answers: Sequence[bytes], kind: int = A, number: int = 7, code: int = 0, flags: int = RESPONSE
) -> bytes:
    head = struct.pack("!6H", number, flags | code, 1, len(answers), 0, 0)
    return head + name(asked) + struct.pack("!HH", kind, 1) + b"".join(answers)


_labels = st.sampled_from((b"\3www", b"\7example", b"\3com", b"\1.", b"\2\\\0", b"\4\xff\n A")) | st.binary(
    min_size=1, max_size=63
).map(lambda letters: bytes([len(letters)]) + letters)
_ends = st.sampled_from((b"\0", b"\0", b"\xc0\x0c", b"\xc0\x10", b"\xc0\x1d", b"\xff\xff", b"\x80", b""))
_names = st.builds(lambda labels, end: b"".join(labels) + end, st.lists(_labels, max_size=5), _ends)
_kinds = st.sampled_from((A, 2, CNAME, 6, 12, MX, TXT, AAAA, SRV, 41, 64, 65, 255)) | st.integers(0, 65535)
_groups = st.sampled_from((1, 1, 3, 255)) | st.integers(0, 65535)
_content = (
    _names
    | st.binary(min_size=4, max_size=4)
    | st.binary(min_size=16, max_size=16)
    | st.builds(lambda numbers, end: numbers + end, st.binary(min_size=2, max_size=6), _names)
    | st.binary(max_size=40).map(lambda text: bytes([len(text)]) + text)
)


@st.composite
def resources(draw: st.DrawFn) -> bytes:
    content = draw(_content)
    length = draw(st.just(len(content)) | st.integers(0, 300))
    ttl = draw(st.integers(0, 2**32 - 1))
    owner: bytes = draw(_names)
    return owner + struct.pack("!HHIH", draw(_kinds), draw(_groups), ttl, length) + content


@st.composite
def messages(draw: st.DrawFn) -> bytes:
    questions = draw(st.lists(_names, max_size=2))
    answers = draw(st.lists(resources(), max_size=5))
    if draw(st.integers(0, 9)) == 0:
        answers *= 12
    counts = [draw(st.just(len(one)) | st.integers(0, 65535)) for one in (questions, answers)]
    head = struct.pack("!HHHHHH", draw(st.integers(0, 65535)), draw(st.integers(0, 65535)), *counts, 0, 0)
    asked = b"".join(one + struct.pack("!HH", draw(_kinds), draw(_groups)) for one in questions)
    return (head + asked + b"".join(answers) + draw(st.binary(max_size=8)))[:2048]


payloads = messages() | st.binary(max_size=80)
