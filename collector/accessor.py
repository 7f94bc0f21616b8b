"""Record accessors: how Fluent Bit's configuration names a value inside a record."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from collector.entries import Pairs

_ACCESSOR = re.compile(r"\$(?P<name>[^\s\[\].,\"'$]+)(?P<steps>(?:\['(?:[^'\\]|\\.)*'\]|\[[0-9]{1,9}\])*)")
_STEP = re.compile(r"\['(?P<key>(?:[^'\\]|\\.)*)'\]|\[(?P<index>[0-9]+)\]")
ABSENT = object()


@dataclass(frozen=True, slots=True)
class Accessor:
    """`name`, or `$name['key'][0]`. Where a key repeats, its last pair counts, as in Fluent Bit."""

    name: str
    steps: tuple[str | int, ...] = ()

    def value(self, record: Pairs) -> Any:
        """The value, or ABSENT."""
        value = next((value for key, value in reversed(record) if names(key, self.name)), ABSENT)
        for step in self.steps:
            value = _inside(value, step)
        return value


@dataclass(frozen=True, slots=True)
class Template:
    """A text with values in it: `app.$stream.$kubernetes['pod_name'].$TAG[1]`."""

    parts: tuple[str | Accessor, ...]

    @classmethod
    def read(cls, written: str) -> Template:
        """A `$` that begins no accessor stands for itself."""
        parts: list[str | Accessor] = []
        end = 0
        for found in _ACCESSOR.finditer(written):
            if found.start() > end:
                parts.append(written[end : found.start()])
            parts.append(_accessor(found))
            end = found.end()
        if end < len(written):
            parts.append(written[end:])
        return cls(tuple(parts))

    @property
    def is_constant(self) -> bool:
        """Whether nothing of the record or the tag is in it."""
        return all(isinstance(part, str) for part in self.parts)

    def fill(self, tag: str, record: Pairs) -> str | None:
        """The text for a record; None where the record lacks one of the values."""
        texts: list[str] = []
        for part in self.parts:
            value = part if isinstance(part, str) else _of_tag(part, tag)
            if value is ABSENT and isinstance(part, Accessor):
                value = part.value(record)
            if value is ABSENT or isinstance(value, dict | list):
                return None
            texts.append(_text(value))
        return "".join(texts)


def _of_tag(part: Accessor, tag: str) -> Any:
    """`$TAG` is the whole tag, `$TAG[1]` its second part between dots."""
    if part.name != "TAG":
        return ABSENT
    if not part.steps:
        return tag
    parts, index = tag.split("."), part.steps[0]
    return parts[index] if isinstance(index, int) and index < len(parts) else ABSENT


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape")
    return "" if value is None else str(value)


def read(written: str) -> Accessor:
    """Raises ValueError with a sentence that says what is expected."""
    if not written.startswith("$"):
        return Accessor(written)
    found = _ACCESSOR.fullmatch(written)
    if found is None:
        raise ValueError(
            f"expected {written} to be a key, or nested keys as in $kubernetes['labels']['app']."
        )
    return _accessor(found)


def _accessor(found: re.Match[str]) -> Accessor:
    steps = tuple(
        int(step["index"]) if step["index"] else re.sub(r"\\(.)", r"\1", step["key"])
        for step in _STEP.finditer(found["steps"])
    )
    return Accessor(found["name"], steps)


def without(record: Pairs, removed: Sequence[Accessor]) -> Pairs:
    """The record less some keys, nested ones too; the record itself is not changed."""
    for accessor in removed:
        record = _pruned(record, (accessor.name, *accessor.steps))
    return record


def _pruned(pairs: Iterable[tuple[Any, Any]], path: tuple[str | int, ...]) -> Pairs:
    kept: Pairs = []
    for key, value in pairs:
        if not names(key, str(path[0])):
            kept.append((key, value))
        elif len(path) > 1:
            kept.append((key, dict(_pruned(value.items(), path[1:])) if isinstance(value, dict) else value))
    return kept


def names(key: Any, name: str) -> bool:
    """Whether a record's key, text or binary, is this name."""
    if isinstance(key, bytes):
        return key == name.encode("utf-8", "surrogateescape")
    return bool(key == name)


def _inside(value: Any, step: str | int) -> Any:
    if isinstance(value, dict) and isinstance(step, str):
        return value.get(step, ABSENT)
    if isinstance(value, list) and isinstance(step, int) and step < len(value):
        return value[step]
    return ABSENT
