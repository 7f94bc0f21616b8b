"""Command line arguments as sections: each flag belongs to the plugin before it, as in Fluent Bit."""

from __future__ import annotations

import getopt
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from collector.config import flags
from collector.config.sections import Entry, Section

FILE = "argument"  # a place reads `argument:3`
_SECTIONS = {"i": "INPUT", "F": "FILTER", "o": "OUTPUT"}
_CALLED = {"INPUT": "an input", "FILTER": "a filter", "OUTPUT": "an output"}
_SERVICE = {
    "b": "storage.path",
    "f": "Flush",
    "l": "Log_File",
    "L": "HTTP_Listen",
    "P": "HTTP_Port",
    "H": "HTTP_Server",
    "Y": "Hot_Reload",
}


@dataclass(slots=True)
class Arguments:
    """What the command line asks for; `sections` in the order they were written."""

    config: str = ""
    parsers_files: list[str] = field(default_factory=list)
    sections: list[Section] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)
    folder: str = ""  # to work in
    dry_run: bool = False
    report: bool = False
    version: bool = False
    help: bool = False

    @property
    def has_plugins(self) -> bool:
        return any(section.name in ("INPUT", "OUTPUT") for section in self.sections)


def read_arguments(given: Sequence[str]) -> Arguments:
    """Raises getopt.GetoptError with what is wrong."""
    options, rest = getopt.gnu_getopt(list(given), flags.short_options(), flags.long_options())
    if rest:
        raise getopt.GetoptError(f"{rest[0]!r} is neither a flag nor a subcommand")
    reading = _Reading()
    for number, (written, value) in enumerate(options, 1):
        reading.flag(number, flags.find(written), value)
    return reading.finish()


class _Reading:
    """The plugin that flags belong to, and what was read so far."""

    def __init__(self) -> None:
        self._asked = Arguments()
        self._service: list[Entry] = []
        self._open: tuple[str, int] | None = None
        self._entries: list[Entry] = []
        self._processors: list[Section] = []
        self._verbosity = 0

    def flag(self, number: int, flag: flags.Flag, value: str) -> None:
        if flag.refused:
            raise getopt.GetoptError(f"{str(flag).strip()} is not for podwitness: {flag.refused}")
        if flag.ignored:
            self._asked.notices.append(f"{FILE}:{number}: {str(flag).strip()} has no effect: {flag.ignored}.")
        elif flag.name in _SECTIONS:
            self._close()
            self._open = (_SECTIONS[flag.name], number)
            self._add(number, "Name", value)
        elif flag.name == "r":
            if self._open is None or self._open[0] != "INPUT":
                raise getopt.GetoptError(f"-r {value} belongs to an input; write -i first")
            self._processors.append(Section("PROCESSOR", FILE, number))
            self._add(number, "Name", value)
        elif flag.name in ("p", "t", "m"):
            self._plugin_key(number, f"-{flag.name}", value)
        elif flag.name in _SERVICE:
            self._service.append(Entry(_SERVICE[flag.name], value or "On", FILE, number))
        elif flag.name in ("v", "q"):
            self._log_level(number, f"-{flag.name}")
        else:
            self._mode(flag.name, value)

    def _mode(self, name: str, value: str) -> None:
        asked = self._asked
        match name:
            case "c":
                asked.config = value
            case "R":
                asked.parsers_files.append(value)
            case "w":
                asked.folder = value
            case "D":
                asked.dry_run = True
            case "S":
                asked.report = True
            case "V":
                asked.version = True
            case "h":
                asked.help = True

    def _plugin_key(self, number: int, flag: str, value: str) -> None:
        if self._open is None:
            raise getopt.GetoptError(f"{flag} {value} has no plugin before it; write -i, -F or -o first")
        kind = self._open[0]
        if flag == "-p":
            name, equals, text = value.partition("=")
            if not equals or not name.strip() or not text.strip():
                raise getopt.GetoptError(f"-p {value} is not KEY=VALUE")
            self._add(number, name.strip(), text.strip())
        elif flag == "-t" and kind == "INPUT":
            self._add(number, "Tag", value)
        elif flag == "-m" and kind != "INPUT":
            self._add(number, "Match", value)
        else:
            wanted = "an input" if flag == "-t" else "a filter or output"
            raise getopt.GetoptError(f"{flag} {value} belongs to {wanted}, but {_CALLED[kind]} is before it")

    def _log_level(self, number: int, flag: str) -> None:
        self._verbosity += flag == "-v"
        level = "off" if flag == "-q" else "debug" if self._verbosity == 1 else "trace"
        self._service.append(Entry("Log_Level", level, FILE, number))

    def _add(self, number: int, name: str, value: str) -> None:
        """To the plugin before it, or its last processor, but for an input's Tag."""
        entry = Entry(name, value, FILE, number)
        if self._processors and name != "Tag":
            last = self._processors[-1]
            self._processors[-1] = replace(last, entries=(*last.entries, entry))
        else:
            self._entries.append(entry)

    def _close(self) -> None:
        if self._open is None:
            return
        kind, number = self._open
        if kind != "INPUT" and not any(one.key.lower().startswith("match") for one in self._entries):
            self._add(number, "Match", "*")
        made = Section(kind, FILE, number, tuple(self._entries), tuple(self._processors))
        self._asked.sections.append(made)
        self._open, self._entries, self._processors = None, [], []

    def finish(self) -> Arguments:
        self._close()
        if self._service:
            first = self._service[0].line
            self._asked.sections.append(Section("SERVICE", FILE, first, tuple(self._service)))
        return self._asked
