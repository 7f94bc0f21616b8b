"""Files that wait for a time."""

from __future__ import annotations

import math
import weakref

from collector.inputs.due import Due


class File:
    """Counts how often it is looked up."""

    looks = 0

    def __hash__(self) -> int:
        File.looks += 1
        return id(self)


def test_files_come_when_they_are_due() -> None:
    due = Due[str]()
    assert due.next_s == math.inf
    due.put("late", 30.0)
    due.put("soon", 10.0)
    due.put("soon", 20.0)
    assert due.next_s == 10.0
    assert due.take(9.0) == []
    assert due.take(10.0) == ["soon"]
    assert due.next_s == 30.0
    due.put("late", 15.0)
    due.put("other", 15.0)
    assert due.take(40.0) == ["late", "other"]
    assert due.next_s == math.inf


def test_a_file_that_is_left_is_not_due() -> None:
    due = Due[str]()
    due.put("left", 10.0)
    due.put("stays", 20.0)
    due.drop("left")
    due.drop("unknown")
    assert due.next_s == 20.0
    due.put("left", 30.0)
    assert due.take(40.0) == ["stays", "left"]


def test_a_file_that_is_left_is_let_go_of() -> None:
    due, file = Due[File](), File()
    due.put(file, 20.0)
    due.put(file, 10.0)
    due.drop(file)
    left = weakref.ref(file)
    del file
    assert left() is None


def test_a_wait_costs_the_same_however_many_files_wait() -> None:
    due = Due[File]()
    for when_s in range(10_000):
        due.put(File(), 100.0 + when_s)
    File.looks = 0
    assert due.next_s == 100.0
    assert due.take(99.0) == []
    assert len(due.take(100.0)) == 1
    assert File.looks < 10
