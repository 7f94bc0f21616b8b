"""collector.inputs.read_again: reading in the stretches that were under way makes the same records."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from collector.delivery.chunk import Position, Stretch
from collector.delivery.stretches import Stretches
from collector.inputs.follow import FollowedFile
from collector.inputs.portion import Portion
from collector.inputs.tail_groups import Grouping, LineGroups
from collector.multiline.built_in import built_in
from collector.plan import CRI_JOINED_LAYOUT, Framing, Layout, LogPlan

CRI = LogPlan(Framing.CRI_JOINED, CRI_JOINED_LAYOUT)
JAVA = replace(CRI, layout=replace(CRI_JOINED_LAYOUT, offset="\0offset"))

Follow = Callable[..., FollowedFile]
LOG = logging.getLogger("test")


def line(text: str, tag: str = "F", stream: str = "stdout") -> bytes:
    return f"2026-01-01T00:00:00Z {stream} {tag} {text}\n".encode()


def stretch_of(file: FollowedFile, portion: Portion, behind: int) -> Stretch:
    stretch = file.stretch_of(portion, "tail.0", file.key, behind, is_divided=False)
    assert stretch is not None
    return stretch


class Life:
    """One run that follows a file; `sent` are its stretches, with what was made of them."""

    def __init__(self, file: FollowedFile, stretches: Stretches, position: Position | None = None) -> None:
        self.file = file
        self.behind = position.offset if position else 0
        if position is not None:
            file.resume(position)
        else:
            file.look_at_head()
        file.claim(stretches, "tail.0")
        self.sent: list[tuple[bytes, bytes]] = []
        self.positions: list[Position] = []

    def take(self, portion: Portion) -> Portion:
        stretch = stretch_of(self.file, portion, self.behind)
        if portion.records:
            stretch.keep()
            self.behind = portion.to_offset
            self.sent.append((stretch.id, bytes(portion.entries)))
            where, partials = portion.to_offset, self.file.take_partials()
            self.positions.append(Position(self.file.key, self.file.place, where, partials))
        return portion

    def read(self, now_ns: int = 1, *, end: bool = False) -> None:
        while not self.take(self.file.read_portion(now_ns, end=end)).at_end:
            pass


class Node:
    """A file and runs that follow it, each killed before the next."""

    def __init__(self, folder: Path, follow: Follow, plan: LogPlan = CRI, parser: str = "") -> None:
        self.path = folder / "a.log"
        self._follow, self._plan, self._parser = follow, plan, parser
        self._folder = folder

    def write(self, *lines: bytes) -> None:
        with self.path.open("ab") as log:
            log.write(b"".join(lines))

    def begin(self, position: Position | None = None) -> Life:
        file = self._follow(self.path, self._plan)
        if self._parser:
            file.groups = LineGroups(Grouping((built_in(self._parser),), 1 << 20, Framing.CRI_JOINED, "log"))
        return Life(file, Stretches(self._folder / "stretches", log=LOG), position)


def test_the_same_bytes_come_again_in_the_same_stretches(tmp_path: Path, follow: Follow) -> None:
    node = Node(tmp_path, follow)
    first = node_read(node, [line("a")], [line("b"), line("c", "P")], [line("d"), line("e", "P")])
    node.write(line("f"))
    again = node.begin()
    again.read(now_ns=2)
    assert again.sent[:-1] == first.sent
    assert len(again.sent) == 4


def node_read(node: Node, *portions: list[bytes], position: Position | None = None) -> Life:
    """A run that finds these lines one after the other."""
    life: Life | None = None
    for lines in portions:
        node.write(*lines)
        life = life or node.begin(position)
        life.read()
    assert life is not None
    return life


@pytest.mark.parametrize("delivered", [1, 2])
def test_from_a_position_with_an_open_record_on(tmp_path: Path, follow: Follow, delivered: int) -> None:
    node = Node(tmp_path, follow)
    first = node_read(
        node,
        [line("a"), line("b", "P"), line("x", stream="stderr")],
        [line("c", stream="stderr"), line("d", "P")],
        [line("e"), line("f")],
    )
    assert max(first.positions[delivered - 1].partials) >= 0
    again = node.begin(first.positions[delivered - 1])
    again.read(now_ns=2)
    assert again.sent == first.sent[delivered:]


def test_lines_without_a_time_get_the_one_that_they_had(tmp_path: Path, follow: Follow) -> None:
    node = Node(tmp_path, follow, LogPlan(Framing.LINE, Layout(content="log")))
    first = node_read(node, [b"one\n"], [b"two\n"])
    again = node.begin()
    again.read(now_ns=77)
    assert again.sent == first.sent


def test_what_was_completed_at_an_end_is_completed_there(tmp_path: Path, follow: Follow) -> None:
    node = Node(tmp_path, follow)
    first = node_read(node, [line("a"), line("b", "P")])
    first.take(first.file.close_open_records(1))
    node.write(line("c"), b"2026-01-01T00:00:00Z stdout F no end")
    first.read(end=True)
    node.write(b" after all\n", line("d"))
    again = node.begin()
    again.read(now_ns=2)
    assert again.sent[:3] == first.sent
    assert [len(first.sent), len(again.sent)] == [3, 4]


def test_records_of_several_lines_end_where_a_clock_ended_them(tmp_path: Path, follow: Follow) -> None:
    node = Node(tmp_path, follow, JAVA, "java")
    trace = [line("java.lang.Exception: x"), line("\tat a.b(C.java:1)")]
    node.write(line("a"), *trace)
    first = node.begin()
    first.read()
    first.take(first.file.close_overdue_records(1e9))
    node.write(*trace, line("z"))
    first.read()
    assert len(first.sent) == 3
    again = node.begin()
    again.file.looked_s = 5.0
    for _ in range(3):
        again.take(again.file.read_portion(2))
        if again.file.again:
            assert not again.file.close_overdue_records(1e9).records
    assert again.sent == first.sent
    beyond = node.begin(first.positions[0])
    beyond.read()
    assert beyond.sent == first.sent[1:]


def test_a_clock_that_ended_one_stream_ends_only_that_again(tmp_path: Path, follow: Follow) -> None:
    node = Node(tmp_path, follow, JAVA, "java")
    node.write(line("java.lang.Exception: x", stream="stderr"), line("java.lang.Exception: y"))
    life = node.begin()
    life.read()
    begins = len(line("java.lang.Exception: x", stream="stderr"))
    where = life.file.offset
    life.file.again.append(Stretch("tail.0", life.file.key, where, where, 0, b"i" * 16, 1, began=(begins,)))
    portion = life.file.read_portion(2)
    assert (portion.records, portion.began, portion.at_end) == (1, (begins,), False)
    assert life.file.partials == (-1, 0)


def test_a_stretch_whose_start_was_passed_is_none(tmp_path: Path, follow: Follow) -> None:
    node = Node(tmp_path, follow)
    life = node_read(node, [line("a")])
    node.write(line("b"))
    life.file.again.append(Stretch("tail.0", life.file.key, 0, 2 * len(line("a")), 0, b"i" * 16, 1))
    portion = life.file.read_portion(2)
    assert (portion.from_offset, portion.again, portion.at_end) == (len(line("a")), None, True)


def test_what_made_no_chunk_before_a_stretch_is_read_before_it(tmp_path: Path, follow: Follow) -> None:
    node = Node(tmp_path, follow)
    first = node_read(node, [line("a")])
    node.write(line("dropped"))
    first.file.read_portion(1)
    node.write(line("b"))
    first.read()
    again = node.begin()
    again.read(now_ns=2)
    assert [again.sent[0], again.sent[2]] == first.sent
    assert len(again.sent) == 3


def test_joined_ones_are_read_in_one_go(tmp_path: Path, follow: Follow) -> None:
    node = Node(tmp_path, follow)
    big = [line(f"{number} " + "x" * 1000) for number in range(3000)]
    node.write(*big)
    life = node.begin()
    portions = [life.file.read_portion(1) for _ in range(3)]
    assert [portion.at_end for portion in portions] == [False, True, True]
    joint = _up_to(*(stretch_of(life.file, one, one.from_offset) for one in portions[:2]))
    joint.keep()
    again = node.begin()
    again.read()
    assert again.sent == [(joint.id, b"".join(bytes(one.entries) for one in portions))]


def _up_to(first: Stretch, last: Stretch) -> Stretch:
    assert first.goes_on_in(last)
    return first.up_to(last)


def test_what_a_third_run_reads_from_an_open_record_on_keeps_its_id(tmp_path: Path, follow: Follow) -> None:
    node = Node(tmp_path, follow)
    first = node_read(node, [line("a"), line("b", "P")])
    node.write(line("c"), line("d"))
    second = node.begin(first.positions[0])
    second.read()
    node.write(line("e"))
    third = node.begin(first.positions[0])
    third.read(now_ns=2)
    assert third.sent[:1] == second.sent
    assert len(third.sent) == 2


@pytest.mark.parametrize("content", [b"", b"2026-01-01T00:00:00Z stdout F other\n" * 3])
def test_other_content_has_other_ids(tmp_path: Path, follow: Follow, content: bytes) -> None:
    node = Node(tmp_path, follow)
    first = node_read(node, [line("a")], [line("b")])
    node.path.write_bytes(content)
    again = node.begin()
    again.read()
    assert not {name for name, _ in again.sent} & {name for name, _ in first.sent}


def test_an_end_in_the_middle_of_a_line_is_no_end(tmp_path: Path, follow: Follow) -> None:
    node = Node(tmp_path, follow)
    node.write(line("a"), line("b"))
    life = node.begin()
    end = len(line("a")) + 5
    life.file.again.append(Stretch("tail.0", life.file.key, 0, end, 0, b"i" * 16, 1))
    portion = life.file.read_portion(2)
    assert (portion.to_offset, portion.again, portion.at_end) == (len(line("a")), None, False)
    assert not life.file.again
    assert life.file.read_portion(2).to_offset == 2 * len(line("a"))


@pytest.mark.parametrize("start", [5, 60])
def test_a_start_that_reading_does_not_come_to_is_none(tmp_path: Path, follow: Follow, start: int) -> None:
    node = Node(tmp_path, follow)
    node.write(line("a"), line("b"))
    life = node.begin()
    stretch = Stretch("tail.0", life.file.key, start, len(line("a")) * 2, 0, b"i" * 16, 1)
    life.file.again.append(stretch)
    portions = [life.file.read_portion(2) for _ in range(2)]
    assert all(one.again is None for one in portions)
    assert sum(one.records for one in portions) == 2
