"""JSON to msgpack: what is an object and what is not, by table and against the reference."""

from __future__ import annotations

import json
import math
import struct
from pathlib import Path
from typing import Any

import msgpack
import pytest
from collector._native import lib
from hypothesis import example, given
from hypothesis import strategies as st

from collector.native import logs
from collector.native.logs import json_pairs
from tests.native.log_inputs import json_objects, mutated
from tests.reference.json_msgpack import pack_pairs, parse_object

NUMBERS = {
    "0": 0,
    "-0": 0,
    "127": 127,
    "128": 128,
    "-32": -32,
    "-33": -33,
    "-128": -128,
    "-129": -129,
    "65535": 65535,
    "65536": 65536,
    "-32769": -32769,
    "4294967296": 1 << 32,
    "-2147483649": -(1 << 31) - 1,
    "18446744073709551615": (1 << 64) - 1,
    "-9223372036854775808": -(1 << 63),
    "18446744073709551616": float(1 << 64),
    "-9223372036854775809": -float(1 << 63),
    "1" + "0" * 30: 1e30,
    "1.0": 1.0,
    "-0.0": -0.0,
    "1e5": 1e5,
    "1E+5": 1e5,
    "0e0": 0.0,
    "0.1": 0.1,
    "123456789.987654321": 123456789.987654321,
    "1.7976931348623157e308": 1.7976931348623157e308,
    "5e-324": 5e-324,
    "1e-400": 0.0,
    "2.2250738585072011e-308": 2.2250738585072011e-308,
    "9007199254740993.0": 9007199254740992.0,
    "0." + "0" * 50 + "1e60": 1e9,
    "1" + "0" * 400 + "e-400": 1.0,
    "8.10109172351e-10": 8.10109172351e-10,
}
NOT_VALUES = (
    *(
        "01",
        "-",
        "+1",
        ".5",
        "1.",
        "1.e5",
        "1e",
        "1e+",
        "0x10",
        "1e400",
        "-1e400",
        "9" * 400,
        "Infinity",
        "NaN",
    ),
    *(
        "tru",
        "True",
        "nul",
        "falsey",
        "'a'",
        '"',
        '"\\"',
        '"\\x"',
        '"\\u12"',
        '"\\u12g4"',
        '"a\tb"',
        '"a\x00b"',
    ),
    *(
        '"\\ud800"',
        '"\\udc00"',
        '"\\ud800\\u0041"',
        '"\\ud800x"',
        '"\\ud83d\\ud83d"',
        "",
        ",",
        "[",
        "]",
        "[1,]",
    ),
    *(
        "[,1]",
        "[1 2]",
        "{,}",
        '{"a"}',
        '{"a":}',
        '{"a":1,}',
        "{1:2}",
        '{"a":1 "b":2}',
        "[1}",
        '{"a":[}',
        "/**/1",
    ),
)
STRINGS = {
    r'"\"\\\/\b\f\n\r\t"': '"\\/\b\f\n\r\t',
    r'"\u0000"': "\0",
    r'"\u00e9\u20AC"': "é€",
    r'"\ud83d\ude00"': "😀",
    r'"\udbff\udfff"': "\U0010ffff",
    '"\x7f é"': "\x7f é",
}
NOT_OBJECTS = (
    "",
    " ",
    "[]",
    '"a"',
    "1",
    "null",
    "{}{}",
    "{} {}",
    "{}x",
    "x{}",
    "{",
    "{}}",
    "\ufeff{}",
    "{}\0",
)


@pytest.fixture(params=range(logs.VECTORS + 1), ids=lambda vectors: f"vectors {vectors}", autouse=True)
def vectors(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything in this file by each kind of vectors that this processor has, and without."""
    monkeypatch.setattr(logs, "VECTORS", request.param)


def test_this_processor_has_vectors() -> None:
    """Where it has none, only plain C would be tested here."""
    assert logs.VECTORS in range(3)
    assert lib.pw_vectors() == 2 if "avx2" in Path("/proc/cpuinfo").read_text() else lib.pw_vectors() >= 1


def value_of(text: str) -> Any:
    found = json_pairs(b'{"":' + text.encode() + b"}")
    assert found is not None
    assert found[0] == 1
    return msgpack.unpackb(b"\x81" + found[1])[""]


@pytest.mark.parametrize("text", NUMBERS)
def test_number(text: str) -> None:
    value = value_of(text)
    assert type(value) is type(NUMBERS[text])
    assert value == NUMBERS[text]
    assert math.copysign(1, value) == math.copysign(1, NUMBERS[text])


@given(st.floats(allow_nan=False, allow_infinity=False), st.sampled_from(["r", ".17e", ".25e", ".3f"]))
@example(9007199254740993.0, "r")
def test_floats_round_as_python_does(number: float, form: str) -> None:
    text = repr(number) if form == "r" else format(number, form)
    assert struct.pack(">d", value_of(text)) == struct.pack(">d", float(text))


@given(st.from_regex(r"\A-?(0|[1-9][0-9]{0,30})(\.[0-9]{1,30})?(e[+-]?[0-9]{1,3})?\Z"))
def test_any_number_as_the_reference(text: str) -> None:
    expected = parse_object('{"":' + text + "}")
    found = json_pairs(b'{"":' + text.encode() + b"}")
    assert found == (expected and (1, pack_pairs(expected.pairs)[1:]))


@pytest.mark.parametrize("text", STRINGS)
def test_string(text: str) -> None:
    assert value_of(text) == STRINGS[text]


@pytest.mark.parametrize("text", NOT_VALUES)
def test_no_value(text: str) -> None:
    assert json_pairs(b'{"":' + text.encode() + b"}") is None


@pytest.mark.parametrize("text", NOT_OBJECTS)
def test_not_exactly_one_object(text: str) -> None:
    assert json_pairs(text.encode()) is None


@pytest.mark.parametrize("length", range(70))
def test_strings_of_every_length_around_the_vectors(length: int) -> None:
    body = "x" * length
    assert value_of(f'"{body}"') == body
    assert value_of(f'"{body}\\n{body}"') == f"{body}\n{body}"
    assert json_pairs(b'{"' + b"x" * length) is None
    assert json_pairs(b'{"' + b"x" * length + b"\x1f") is None


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"":', "}")])
def test_depth_is_bounded(opening: str, closing: str) -> None:
    """The object itself is the first level of 128."""
    deep = opening * 127 + "0" + closing * 127
    assert json_pairs(f'{{"":{deep}}}'.encode()) is not None
    assert json_pairs(f'{{"":{opening}{deep}{closing}}}'.encode()) is None


def test_very_deep_text_is_refused_and_not_followed() -> None:
    assert json_pairs(b'{"":' + b"[" * 1_000_000) is None


def test_doubled_keys_stay_in_order() -> None:
    assert json_pairs(b'{"a":1,"b":2,"a":3}') == (3, b"\xa1a\x01\xa1b\x02\xa1a\x03")


def test_bytes_that_are_no_utf8_pass_through() -> None:
    assert json_pairs(b'{"\xff":"\xc3\\n"}') == (1, b"\xa1\xff\xa2\xc3\n")


@given(st.one_of(json_objects(), mutated(json_objects()), st.binary(max_size=30)))
def test_any_text_as_the_reference(text: bytes) -> None:
    expected = parse_object(text.decode("utf-8", "surrogateescape"))
    found = json_pairs(text)
    if expected is None:
        assert found is None
    else:
        assert found is not None
        assert (found[0], found[1]) == (len(expected.pairs), body(expected.pairs))


def body(pairs: list[tuple[str, Any]]) -> bytes:
    return pack_pairs(pairs)[1 if len(pairs) < 16 else 3 :]


@given(st.dictionaries(st.text(), st.recursive(st.none() | st.booleans() | st.text(), st.lists), max_size=15))
def test_what_python_writes_is_read_back(value: dict[str, Any]) -> None:
    found = json_pairs(json.dumps(value).encode())
    assert found is not None
    assert msgpack.unpackb(bytes([0x80 | found[0]]) + found[1]) == value
