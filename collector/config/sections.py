"""A configuration as it was written: sections of key and value, each with its place."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field

from collector.errors import ConfigError

MAX_FILE_BYTES = 16 << 20  # a configuration is some KiB; a mistaken path must not fill the memory


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

    name: str  # upper case, one of SECTIONS or PROCESSOR
    file: str
    line: int
    entries: tuple[Entry, ...] = field(default=())
    processors: tuple[Section, ...] = field(default=())  # of an input or output in YAML, each named PROCESSOR

    @property
    def place(self) -> str:
        return f"{self.file}:{self.line}"

    def all(self, *names: str) -> Iterator[Entry]:
        """Entries of a key that has these names, in order; they are compared without case."""
        wanted = {name.lower() for name in names}
        return (entry for entry in self.entries if entry.key.lower() in wanted)

    def get(self, key: str) -> Entry | None:
        """The last entry of a key (a later one overrides), or None."""
        entries = list(self.all(key))
        return entries[-1] if entries else None


SECTIONS = ("SERVICE", "INPUT", "FILTER", "OUTPUT", "PARSER", "MULTILINE_PARSER", "UPSTREAM", "NODE")
# Of Fluent Bit, and what to do instead.
UNSUPPORTED_SECTIONS = {
    "CUSTOM": "Remove it.",
    "PLUGINS": "Remove it; podwitness loads no plugins from files.",
    "STREAM_TASK": "Remove it; podwitness has no stream processor.",
}


@dataclass(slots=True)
class Draft:
    """What has been read from files, before variables are replaced."""

    sections: list[Section] = field(default_factory=list)
    variables: list[Entry] = field(default_factory=list)  # @SET, or `env` of YAML
    problems: list[ConfigError] = field(default_factory=list)
    files: list[str] = field(default_factory=list)  # as they were asked for
    asked: dict[str, str] = field(default_factory=dict)  # real path -> where it was asked for

    def problem(self, place: str, problem: str, remedy: str = "") -> None:
        self.problems.append(ConfigError(f"{place}: {problem}", remedy=remedy))

    def open(self, path: str, asked_by: str) -> str | None:
        """The text of a file that was not read before; None with a problem noted."""
        real = os.path.realpath(path)
        if real in self.asked:
            self.problem(
                asked_by, f"{path} was read already, by {self.asked[real]}.", "Include a file only once."
            )
            return None
        self.asked[real] = asked_by
        self.files.append(path)
        try:
            return _read_text(path)
        except ConfigError as error:
            prefix = "" if error.problem.startswith(f"{path}:") else f"{asked_by}: "
            self.problems.append(ConfigError(prefix + error.problem, remedy=error.remedy))
            return None


def _read_text(path: str) -> str:
    try:
        with open(path, "rb") as file:
            raw = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{path} can't be read: {error.strerror}.") from None
    if len(raw) > MAX_FILE_BYTES:
        raise ConfigError(f"{path} is larger than {MAX_FILE_BYTES >> 20} MiB, which is no configuration.")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ConfigError(
            f"{path}:{line}: the line is not UTF-8.", remedy="Save the file as UTF-8."
        ) from None
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise ConfigError(f"{path}:{line}: the line has a NUL byte, so this is no text file.")
    return text
