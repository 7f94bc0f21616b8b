"""A configuration as it was written: sections of key and value, each with its place."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Entry:
    """One `Key value` line. `value` has its variables replaced."""

    key: str
    value: str
    file: str
    line: int

    @property
    def place(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(frozen=True, slots=True)
class Section:
    """`[NAME]` and its entries in the order they were written; keys may repeat."""

    name: str  # upper case: SERVICE, INPUT, FILTER, OUTPUT, PARSER
    file: str
    line: int
    entries: tuple[Entry, ...] = field(default=())

    @property
    def place(self) -> str:
        return f"{self.file}:{self.line}"

    def all(self, key: str) -> Iterator[Entry]:
        """Entries of a key, in order; keys are compared without case."""
        wanted = key.lower()
        return (entry for entry in self.entries if entry.key.lower() == wanted)

    def get(self, key: str) -> Entry | None:
        """The last entry of a key (a later one overrides), or None."""
        entries = list(self.all(key))
        return entries[-1] if entries else None
