"""Records as text: valid JSON whatever they hold, and nothing that a terminal would obey."""

from __future__ import annotations

import json
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.outputs.text import as_json, as_pairs, date, plain_text, quoted, seconds

TIME = 1_700_000_000_123_456_789


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("double", 1700000000.1234567),
        ("epoch", 1700000000),
        ("epoch_ms", 1700000000123),
        ("iso8601", "2023-11-14T22:13:20.123456Z"),
        ("java_sql_timestamp", "2023-11-14 22:13:20.123456"),
    ],
)
def test_dates(form: str, expected: Any) -> None:
    assert date(TIME, form) == expected


def test_seconds_keep_every_digit() -> None:
    assert seconds(TIME) == "1700000000.123456789"
    assert seconds(5) == "0.000000005"


def test_what_json_can_not_hold() -> None:
    record = [
        ("nan", float("nan")),
        ("inf", float("inf")),
        ("bytes", b"a\xff"),
        ("text", "a\udcff"),
        ("ext", msgpack.ExtType(5, b"\x01\x02")),
        (3, {None: [True, 1.5]}),
        ("twice", 1),
        ("twice", 2),
    ]
    assert as_json(record) == (
        '{"nan":null,"inf":null,"bytes":"a\\ufffd","text":"a\\ufffd","ext":"0102","3":{"null":[true,1.5]},'
        '"twice":1,"twice":2}'
    )


def test_a_key_is_written_the_same_whatever_else_the_record_has() -> None:
    keys = [(None, 1), (True, 2), (3, 4)]
    plain = as_json(keys)
    assert plain == '{"null":1,"true":2,"3":4}'
    assert as_json([*keys, ("x", b"a\xff")]) == plain[:-1] + ',"x":"a\\ufffd"}'


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
)


@given(st.lists(st.tuples(st.text(max_size=5), values), max_size=4))
def test_json_is_always_one_line_of_json(record: list[tuple[Any, Any]]) -> None:
    text = as_json(record)
    assert "\n" not in text
    assert list(json.loads(text)) == list(dict.fromkeys(plain_text(key) for key, _ in record))


def test_the_notation_of_msgpack_object_print() -> None:
    record = [
        ("text", 'a"b'),
        ("int", -1),
        ("float", 0.5),
        ("none", None),
        ("yes", True),
        ("no", False),
        ("list", [1, "x"]),
        ("map", {"a": {}}),
        (b"bin", b"\x00\xff"),
        ("ext", msgpack.ExtType(1, b"\x0a")),
    ]
    assert as_pairs(record) == (
        '{"text"=>"a"b", "int"=>-1, "float"=>0.500000, "none"=>nil, "yes"=>true, "no"=>false, '
        '"list"=>[1, "x"], "map"=>{"a"=>{}}, "bin"=>"\\x00�", "ext"=>(ext: 1)"0a"}'
    )


def test_control_characters_are_spelled() -> None:
    assert quoted("a\x1b[31m\r\n\x9b2J\té") == '"a\\x1b[31m\\r\\n\\x9b2J\\té"'
