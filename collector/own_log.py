"""What podwitness says of itself, in Fluent Bit's form: `[2026/11/24 02:34:15] [ info] [tail.0] ...`."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

from collector.errors import OperatorError

TRACE = 5
LEVELS = {
    "off": logging.CRITICAL + 1,
    "error": logging.ERROR,
    "warn": logging.WARNING,
    "info": logging.INFO,
    "debug": logging.DEBUG,
    "trace": TRACE,
}
_WORDS = {logging.CRITICAL: "error", logging.WARNING: " warn", logging.INFO: " info", TRACE: "trace"}

ROOT = "podwitness"


class _Counting(logging.Filter):
    """Lets all pass, and counts it by the level's name."""

    def __init__(self) -> None:
        super().__init__()
        self.lines = dict.fromkeys(("error", "warn", "info", "debug", "trace"), 0)

    def filter(self, record: logging.LogRecord) -> bool:
        word = _WORDS.get(record.levelno, record.levelname.lower()).strip()
        self.lines[word] = self.lines.get(word, 0) + 1
        return True


_counting = _Counting()


def lines() -> dict[str, int]:
    """How many lines were written since the start, by level."""
    return dict(_counting.lines)


class OwnFormat(logging.Formatter):
    """One line a message, whatever it quotes: names and log lines of containers are hostile."""

    def format(self, record: logging.LogRecord) -> str:
        stamp = self.formatTime(record, "%Y/%m/%d %H:%M:%S")
        word = _WORDS.get(record.levelno, record.levelname.lower())
        part = record.name.removeprefix(ROOT).lstrip(".")
        text = record.getMessage()
        if record.exc_info:
            text += "\n" + self.formatException(record.exc_info)
        printable = "".join(one if one.isprintable() else f"\\x{ord(one):02x}" for one in text)
        return f"[{stamp}] [{word}]{f' [{part}]' if part else ''} {printable}"


def configure(level: str, file: str) -> None:
    """Sets up the log for the process. Raises OperatorError when `file` can't be written."""
    try:
        writer = logging.FileHandler(file) if file else logging.StreamHandler(sys.stderr)
    except OSError as error:
        raise OperatorError(
            f"Log_File {Path(file)} can't be written: {error.strerror}.",
            "podwitness does not start.",
            "Name a file in a folder that exists and is writable.",
        ) from None
    writer.setFormatter(OwnFormat())
    writer.addFilter(_counting)
    root = logging.getLogger(ROOT)
    root.handlers[:] = [writer]
    root.propagate = False
    root.setLevel(LEVELS[level])


def set_level(level: str) -> None:
    """Another Log_Level of the whole process."""
    logging.getLogger(ROOT).setLevel(LEVELS[level])


def part(name: str, level: str = "") -> logging.Logger:
    """The log of one part of the collector, with its own Log_Level where it has one."""
    log = logging.getLogger(f"{ROOT}.{name}")
    log.setLevel(LEVELS[level] if level else logging.NOTSET)
    return log
