"""podwitness's own log: Fluent Bit's form, one line whatever is quoted."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from collector import own_log
from collector.errors import OperatorError

FORGED = "x\n[2026/01/01 00:00:00] [ info] all is well\x1b[2J"


@pytest.fixture(autouse=True)
def root() -> Iterator[logging.Logger]:
    """Other tests find it as it was: what is logged there reaches them."""
    found = logging.getLogger(own_log.ROOT)
    handlers, propagate, level = list(found.handlers), found.propagate, found.level
    yield found
    for handler in found.handlers:
        if handler not in handlers:
            handler.close()
    found.handlers[:], found.propagate = handlers, propagate
    found.setLevel(level)


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines()


def test_lines_have_time_level_part_and_message(tmp_path: Path) -> None:
    own_log.configure("info", str(tmp_path / "log"))
    own_log.part("tail.0").warning("%d lines", 3)
    (line,) = lines(tmp_path / "log")
    assert re.fullmatch(r"\[\d{4}/\d\d/\d\d \d\d:\d\d:\d\d\] \[ warn\] \[tail\.0\] 3 lines", line)


def test_a_quoted_name_cant_forge_a_line(tmp_path: Path) -> None:
    own_log.configure("info", str(tmp_path / "log"))
    logging.getLogger(own_log.ROOT).error("bad name %s", FORGED)
    (line,) = lines(tmp_path / "log")
    assert "x\\x0a[2026" in line
    assert "\x1b" not in line


def test_a_part_has_its_own_level(tmp_path: Path) -> None:
    own_log.configure("error", str(tmp_path / "log"))
    own_log.part("quiet").info("not shown")
    own_log.part("loud", "debug").debug("shown")
    assert [line.rsplit("] ", 1)[1] for line in lines(tmp_path / "log")] == ["shown"]


def test_lines_are_counted_as_they_are_written(tmp_path: Path) -> None:
    own_log.configure("info", str(tmp_path / "log"))
    before = own_log.lines()
    log = own_log.part("tail.0")
    log.debug("not written")
    log.info("one")
    log.error("two")
    log.error("three")
    counted = {level: lines - before[level] for level, lines in own_log.lines().items()}
    assert counted == {"error": 2, "warn": 0, "info": 1, "debug": 0, "trace": 0}


def test_a_log_file_that_cant_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match=r"Log_File .*/missing/log can't be written"):
        own_log.configure("info", str(tmp_path / "missing" / "log"))
