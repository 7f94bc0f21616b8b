"""Which topic, key and value a record's message has."""

from __future__ import annotations

import json
from typing import Any

import msgpack
import pytest

from collector.accessor import read
from collector.outputs.kafka_messages import Message, Shape
from tests.unit.chunks import chunk_of

TIME_NS = 1_700_000_000_123_456_789
RECORD = {"log": "ä", "k": {"team": "a"}, "raw": b"\xff", "n": 7}


def message(record: dict[Any, Any] = RECORD, **shape: Any) -> Message:
    (found,) = Shape(**({"topics": ("one", "two")} | shape)).messages(
        chunk_of(record, time_ns=TIME_NS).entries
    )
    return found


def test_as_fluent_bit_sends_it() -> None:
    found = message({"log": "a"})
    assert (found.topic, found.key, found.time_ms) == ("one", None, 1_700_000_000_123)
    assert json.loads(found.value) == {"@timestamp": 1_700_000_000.1234567, "log": "a"}


@pytest.mark.parametrize(
    ("topic", "dynamic", "expected"),
    [("two", False, "two"), ("three", False, "one"), ("three", True, "three"), ("..", True, "one"),
     ("a b", True, "one"), ("x" * 250, True, "one"), (None, True, "one"), ("", True, "one")],
)  # fmt: skip
def test_topics(topic: str | None, dynamic: bool, expected: str) -> None:
    found = message({"route": {"to": topic}}, topic_key=read("$route['to']"), dynamic_topic=dynamic)
    assert found.topic == expected


def test_keys() -> None:
    assert message(message_key="k").key == b"k"
    assert message(message_key="k", message_key_field=read("$k['team']")).key == b"a"
    assert message(message_key="k", message_key_field=read("$none")).key == b"k"
    assert message(message_key_field=read("n")).key == b"7"


def test_formats() -> None:
    packed = msgpack.unpackb(message(format="msgpack", time_key="t", time_format="iso8601_ns").value)
    assert packed == {"t": "2023-11-14T22:13:20.123456789Z"} | RECORD
    assert message(format="raw", raw_log_key=read("log")).value == "ä".encode()
    assert message(format="raw", raw_log_key=read("raw")).value == b"\xff"
    assert message(format="raw", raw_log_key=read("k")).value == b'{"team":"a"}'
    assert json.loads(message({"a": 1}, format="raw", raw_log_key=read("none")).value)["a"] == 1
    assert b'"@timestamp":"2023-11-14T22:13:20.123456Z"' in message({"a": 1}, time_format="iso8601").value
