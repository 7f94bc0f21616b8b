"""Fluent Bit's classic format: `[SECTION]` at the margin, indented `Key value` lines.

Source: src/config_format/flb_cf_fluentbit.c. The margin also holds comments,
`@INCLUDE` and `@SET`. The first indentation of a file is that of all its lines.
"""

from __future__ import annotations

import glob
import os
import re

from collector.config.kinds import shown
from collector.config.schema import nearest
from collector.config.sections import SECTIONS, UNSUPPORTED_SECTIONS, Draft, Entry, Section

_HEADER = re.compile(r"\[(?P<name>[^\]]*)\]")
_COMMAND = re.compile(r"@(?P<name>[A-Za-z_]+)(?:\s+(?P<rest>.*))?")
INDENT_REMEDY = (
    "Indent every key of a section, by four spaces for example. "
    "(In a ConfigMap the whole file is indented once more; copying may lose both.)"
)


def read(path: str, draft: Draft, asked_by: str) -> None:
    """Reads a file and what it includes into the draft."""
    text = draft.open(path, asked_by)
    if text is not None:
        _File(path, draft).read(text)


class _File:
    """The reading of one file: the section that is open, and the indentation."""

    def __init__(self, path: str, draft: Draft) -> None:
        self._path = path
        self._draft = draft
        self._header: tuple[str, int] | None = None
        self._refused = False  # the header was: what follows belongs to nothing
        self._broken = False  # the section has a line that can't be read: what it lacks is not its fault
        self._entries: list[Entry] = []
        self._slot = 0  # where the open section goes among the draft's
        self._indent = ""
        self._unindented: list[tuple[int, str]] = []

    def read(self, text: str) -> None:
        for number, line in enumerate(text.split("\n"), 1):
            self._line(number, line.removesuffix("\r"))
        self._close()
        if self._unindented:
            self._report_unindented()

    def _line(self, number: int, line: str) -> None:
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            return
        if line[0] == "[":
            self._open(number, stripped)
        elif line[0] == "@":
            self._command(number, stripped)
        elif line[0] in " \t":
            self._entry(number, line)
        else:
            self._unindented.append((number, stripped))
            self._broken = True

    def _problem(self, number: int, problem: str, remedy: str = "") -> None:
        self._broken = True
        self._draft.problem(f"{self._path}:{number}", problem, remedy)

    def _open(self, number: int, line: str) -> None:
        self._close()
        self._refused = True
        header = _HEADER.fullmatch(line)
        if header is None:
            self._problem(
                number,
                f"{shown(line)} is no section.",
                "Write the name in brackets and nothing else: [INPUT].",
            )
            return
        name = header["name"].strip().upper()
        if name in SECTIONS:
            self._refused = False
            self._header = (name, number)
            self._slot = len(self._draft.sections)
        elif name in UNSUPPORTED_SECTIONS:
            problem = f"[{name}] is a section of Fluent Bit that podwitness does not have."
            self._problem(number, problem, UNSUPPORTED_SECTIONS[name])
        else:
            self._problem(number, f"there is no section [{header['name']}].", nearest(name, SECTIONS))

    def _close(self) -> None:
        if self._header is not None and not self._broken:
            name, number = self._header
            # Before what was included since: filters work in the order in which they begin.
            self._draft.sections.insert(self._slot, Section(name, self._path, number, tuple(self._entries)))
        self._header, self._broken, self._entries = None, False, []

    def _command(self, number: int, line: str) -> None:
        command = _COMMAND.fullmatch(line)
        name = command["name"].upper() if command else ""
        rest = (command["rest"] or "").strip() if command else ""
        if name == "INCLUDE" and rest:
            self._include(number, rest)
        elif name == "SET" and "=" in rest and rest.partition("=")[0].strip():
            key, _, value = (part.strip() for part in rest.partition("="))
            self._draft.variables.append(Entry(key, value, self._path, number))
        else:
            self._problem(number, f"{shown(line)} is no command.", "Write @INCLUDE FILE or @SET NAME=VALUE.")

    def _include(self, number: int, path: str) -> None:
        place = f"{self._path}:{number}"
        found = included_files(path, self._path, self._draft.files[0])
        if not found:
            self._problem(
                number, f"@INCLUDE {path} names no file.", "Relative paths start at the including file."
            )
        for one in found:
            read(one, self._draft, place)

    def _entry(self, number: int, line: str) -> None:
        stripped = line.strip()
        indent = line[: line.index(stripped[0])]
        self._indent = self._indent or indent
        if self._refused:
            return
        key, *value = stripped.split(maxsplit=1)
        if key.startswith("["):
            problem = f"{shown(stripped)} is a group inside a section, which podwitness does not have."
            self._problem(number, problem, "A section stands at the beginning of its line.")
        elif self._header is None:
            self._problem(
                number, f"{shown(stripped)} belongs to no section.", "Put it below [INPUT], for example."
            )
        elif indent != self._indent:
            problem = (
                f"{shown(stripped)} is indented by {_spelled(indent)}, others by {_spelled(self._indent)}."
            )
            self._problem(number, problem, "Indent all keys of a file alike.")
        elif not value:
            self._problem(number, f"{key} has no value.", "Give it a value, or remove the line.")
        else:
            self._entries.append(Entry(key, value[0], self._path, number))

    def _report_unindented(self) -> None:
        number, line = self._unindented[0]
        others = len(self._unindented) - 1
        more = f" ({others} more lines of this file have none either)" if others else ""
        self._problem(
            number,
            f"{shown(line)} has no indentation{more}; only [SECTION], @INCLUDE, @SET and # begin a line.",
            INDENT_REMEDY,
        )


def _spelled(indent: str) -> str:
    if not indent.strip(" "):
        return f"{len(indent)} space{'s' if len(indent) != 1 else ''}"
    if not indent.strip("\t"):
        return f"{len(indent)} tab{'s' if len(indent) != 1 else ''}"
    return "tabs and spaces"


def included_files(path: str, by: str, main: str) -> list[str]:
    """The files that a path or pattern names, sorted.

    Relative to the file that names them, else to the main file, where Fluent Bit looks.
    """
    for folder in (os.path.dirname(by), os.path.dirname(main)):
        absolute = os.path.join(folder, path)
        if any(letter in path for letter in "*?["):
            found = sorted(one for one in glob.glob(absolute) if os.path.isfile(one))
        else:
            found = [absolute] if os.path.exists(absolute) else []
        if found:
            return found
    return []
