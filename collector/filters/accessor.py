"""Record accessors: how Fluent Bit's configuration names a value inside a record."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from collector.plugin import Pairs

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


def read(written: str) -> Accessor:
    """Raises ValueError with a sentence that says what is expected."""
    if not written.startswith("$"):
        return Accessor(written)
    found = _ACCESSOR.fullmatch(written)
    if found is None:
        raise ValueError(
            f"expected {written} to be a key, or nested keys as in $kubernetes['labels']['app']."
        )
    steps = tuple(
        int(step["index"]) if step["index"] else re.sub(r"\\(.)", r"\1", step["key"])
        for step in _STEP.finditer(found["steps"])
    )
    return Accessor(found["name"], steps)


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
