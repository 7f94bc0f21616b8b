"""Records as Kafka messages: which topic, key and value each has (Fluent Bit's plugins/out_kafka)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from collector.accessor import ABSENT, Accessor
from collector.delivery.chunk import Packed
from collector.entries import Pairs, map_header, unpack_entries
from collector.outputs.text import as_json, date, plain_text
from collector.packing import pack

TIME_FORMATS = ("double", "iso8601", "iso8601_ns")

# What Kafka takes as the name of a topic; one that comes out of a record is checked by it.
_TOPIC = re.compile(r"(?!\.{1,2}$)[a-zA-Z0-9._-]{1,249}")


@dataclass(frozen=True, slots=True)
class Message:
    topic: str
    key: bytes | None
    value: bytes
    time_ms: int


@dataclass(frozen=True, slots=True)
class Shape:
    """How records become messages."""

    topics: tuple[str, ...]
    topic_key: Accessor | None = None
    dynamic_topic: bool = False
    message_key: str = ""
    message_key_field: Accessor | None = None
    format: str = "json"
    raw_log_key: Accessor | None = None
    time_key: str = "@timestamp"
    time_format: str = "double"

    def messages(self, entries: Packed) -> Iterator[Message]:
        """Raises ValueError for entries that are none."""
        for time_ns, record in unpack_entries(entries):
            yield Message(
                self._topic(record), self._key(record), self._value(time_ns, record), time_ns // 1_000_000
            )

    def _topic(self, record: Pairs) -> str:
        asked = _text(self.topic_key, record)
        if asked in self.topics or (asked and self.dynamic_topic and _TOPIC.fullmatch(asked)):
            return asked
        return self.topics[0]

    def _key(self, record: Pairs) -> bytes | None:
        found = _text(self.message_key_field, record) or self.message_key
        return found.encode() if found else None

    def _value(self, time_ns: int, record: Pairs) -> bytes:
        if self.format == "raw":
            value = self.raw_log_key.value(record) if self.raw_log_key else ABSENT
            if isinstance(value, bytes):
                return value
            if value is not ABSENT:
                return (
                    plain_text(value).encode()
                    if isinstance(value, str)
                    else as_json([("", value)])[4:-1].encode()
                )
        pairs = [(self.time_key, self._time(time_ns)), *record]
        if self.format == "msgpack":
            return map_header(len(pairs)) + b"".join(pack(name) + pack(value) for name, value in pairs)
        return as_json(pairs).encode()

    def _time(self, time_ns: int) -> Any:
        if self.time_format == "iso8601_ns":
            return f"{date(time_ns, 'iso8601')!s}"[:-7] + f"{time_ns % 10**9:09}Z"
        return date(time_ns, self.time_format)


def _text(accessor: Accessor | None, record: Pairs) -> str:
    value = accessor.value(record) if accessor else ABSENT
    return plain_text(value) if isinstance(value, str | bytes | int) and not isinstance(value, bool) else ""
