"""What is done to every record of one stream, worked out once per stream.

A plan starts as the input's own (`framing` and `layout`). Each filter that
matches the stream's tag appends its steps when they are constant for the
stream; a filter that has to see records ends the plan, and it and all after it
work on decoded records. The extension applies a plan in one pass over the
bytes; `tests/reference/plan.py` says the same in plain Python.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Any


class Framing(IntEnum):
    """How bytes of a file become records. Values are those of ext/native.h."""

    LINE = 0  # one line, one record: {content: line}
    CRI = 1  # one CRI line, one record, parts not joined (Fluent Bit's parser cri)
    CRI_JOINED = 2  # parts of one stream joined (Fluent Bit's multiline.parser cri)
    JSON = 3  # one line, one JSON object, which is the record (Fluent Bit's parsers json and docker)
    DOCKER_JOINED = 4  # docker's json-file, parts of one stream joined (multiline.parser docker)
    CONTAINER_JOINED = 5  # each line is either docker's or CRI's (multiline.parser docker, cri)

    @property
    def joins(self) -> bool:
        """Whether a record may have its parts in several lines."""
        return self in (Framing.CRI_JOINED, Framing.DOCKER_JOINED, Framing.CONTAINER_JOINED)


class Op(IntEnum):
    """How a constant pair meets the keys that the record has. Values as in ext/native.h."""

    APPEND = 0  # at the end, whatever is there (Fluent Bit's kubernetes map)
    ADD = 1  # at the end, unless the key is there (modify Add)
    SET = 2  # the key's pairs removed, then at the end (modify Set)
    REMOVE = 3  # the key's pairs removed (modify Remove)


@dataclass(frozen=True, slots=True)
class Field:
    """A constant pair. `value` is anything msgpack can pack; ignored by REMOVE."""

    op: Op
    key: str
    value: Any = None


@dataclass(frozen=True, slots=True)
class Merge:
    """Fluent Bit's Merge_Log: a JSON object found in `key` is lifted into the record.

    The pairs are appended in their order, or nested `under` a key. What is not
    exactly one JSON object is left alone. `keep`: the source key stays though it
    was merged. `trim`: a trailing newline of string values is cut.
    """

    key: str = "log"
    under: str = ""
    keep: bool = True
    trim: bool = True


Step = Field | Merge


@dataclass(frozen=True, slots=True)
class Layout:
    """Key names of what the framing found, in the order of the record; "" leaves one out.

    LINE uses only `content`, JSON `raw`: the key of a line that does not fit the
    framing, which is kept as it is (Fluent Bit's Key, whatever the parser), and
    `time`: the key whose value is the record's time where it is an RFC 3339 one.
    `offset` is a key that is added to every record: where in the file it begins.
    """

    time: str = ""
    stream: str = ""
    logtag: str = ""
    content: str = "log"
    raw: str = "log"
    offset: str = ""


# Fluent Bit 5: conf/parsers.conf `cri` and src/multiline/flb_ml_parser_cri.c.
CRI_LAYOUT = Layout(time="time", stream="stream", logtag="logtag", content="message")
CRI_JOINED_LAYOUT = Layout(time="time", stream="stream", logtag="_p", content="log")


@dataclass(frozen=True, slots=True)
class LogPlan:
    """The plan of one followed file."""

    framing: Framing
    layout: Layout
    steps: tuple[Step, ...] = ()  # at most one Merge
    skips_long: bool = False  # lines over the bound are left out, not cut
    skips_empty: bool = False  # lines without a byte are no records

    def then(self, *steps: Step) -> LogPlan:
        return replace(self, steps=self.steps + steps)

    @property
    def merges(self) -> bool:
        return any(isinstance(step, Merge) for step in self.steps)


@dataclass(frozen=True, slots=True)
class EventPlan:
    """The plan of the kernel events of one container: constant pairs at the end."""

    steps: tuple[Field, ...] = ()

    def then(self, *steps: Field) -> EventPlan:
        return replace(self, steps=self.steps + steps)
