"""The journal reader: places, matches and gaps, on files written by systemd-journal-remote."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from collector.errors import OperatorError
from collector.inputs.journal import Gap, Journal, Place, folder_of, missing_between, sequence_of
from tests.journal_files import START_US, export, write_journal


def cursor(number: int, source: str = "aa") -> str:
    return f"s={source};i={number:x};b=bb;m=1;t=2;x=3"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "journal"
    write_journal(made, *(export(n, f"{'ab'[n % 2]}.service", f"message {n}") for n in range(20)))
    return made


def messages(journal: Journal) -> Iterator[str]:
    while (entry := journal.take()) is not None:
        yield entry.fields["MESSAGE"].decode()


def test_a_cursor_holds_the_number_of_the_entry() -> None:
    assert sequence_of(cursor(0x1F)) == ("aa", 31)
    for text in ("", "garbage", "s=aa;i=zz", "i=1"):
        assert sequence_of(text) is None


def test_what_is_missing_between_two_entries_is_counted() -> None:
    last = Place(cursor(7), 100)
    assert missing_between(last, Place(cursor(8), 200)) is None
    assert missing_between(last, Place(cursor(12), 200)) == Gap(4, 100, 200)
    assert missing_between(last, Place(cursor(12, "another"), 200)) == Gap(0, 100, 200)
    assert missing_between(Place("odd", 100), Place(cursor(12), 200)) == Gap(0, 100, 200)


def test_from_the_head_every_entry_comes_once_and_in_order(folder: Path) -> None:
    journal = Journal(str(folder), ())
    journal.to_head()
    assert list(messages(journal)) == [f"message {n}" for n in range(20)]
    assert journal.take() is None
    assert journal.last is not None
    assert journal.last.realtime_us == START_US + 19
    journal.close()


def test_from_the_tail_nothing_old_comes(folder: Path) -> None:
    journal = Journal(str(folder), ())
    journal.to_tail()
    assert journal.take() is None
    journal.close()


@pytest.mark.parametrize(
    ("all_must_match", "matches", "expected"),
    [
        (False, ("_SYSTEMD_UNIT=a.service", "MESSAGE=message 3"), 11),
        (True, ("_SYSTEMD_UNIT=a.service", "MESSAGE=message 3"), 0),
        (True, ("_SYSTEMD_UNIT=b.service", "MESSAGE=message 3"), 1),
        (True, ("MESSAGE=message 3", "MESSAGE=message 4"), 0),
    ],
)
def test_matches(folder: Path, all_must_match: bool, matches: tuple[str, ...], expected: int) -> None:
    journal = Journal(str(folder), matches, all_must_match=all_must_match)
    journal.to_head()
    assert len(list(messages(journal))) == expected
    journal.close()


def test_a_match_without_a_value_is_refused(folder: Path) -> None:
    with pytest.raises(ValueError, match="match"):
        Journal(str(folder), ("UNIT",))


@pytest.mark.parametrize("matches", [(), ("_SYSTEMD_UNIT=a.service",)])
def test_reading_goes_on_behind_a_place(folder: Path, matches: tuple[str, ...]) -> None:
    first = Journal(str(folder), matches)
    first.to_head()
    read = [entry.fields["MESSAGE"].decode() for _ in range(4) if (entry := first.take())]
    place = first.last
    assert place is not None
    first.close()
    second = Journal(str(folder), matches)
    assert second.to(place) is None
    read += messages(second)
    second.close()
    assert read == [f"message {n}" for n in range(0, 20, 2 if matches else 1)]


def test_a_place_that_is_no_cursor_is_found_by_its_time(folder: Path) -> None:
    journal = Journal(str(folder), ())
    journal.to(Place("of another system", START_US + 15))
    assert list(messages(journal)) == [f"message {n}" for n in range(15, 20)]
    journal.close()


def test_a_place_whose_entry_is_gone_gives_the_next_entry_and_a_gap(tmp_path: Path, folder: Path) -> None:
    journal = Journal(str(folder), ())
    journal.to_head()
    entry = journal.take()
    journal.close()
    assert entry is not None
    later = tmp_path / "later"
    write_journal(later, *(export(n, "a.service", f"later {n}") for n in range(30, 33)))
    journal = Journal(str(later), ())
    assert journal.to(Place(entry.cursor, entry.realtime_us)) == Gap(0, START_US, START_US + 30)
    assert list(messages(journal)) == ["later 30", "later 31", "later 32"]
    journal.close()


def test_a_repeated_field_is_a_list_and_bytes_are_kept(tmp_path: Path) -> None:
    folder = tmp_path / "journal"
    binary = b"\xff\x00\nx"
    field = b"RAW\n" + len(binary).to_bytes(8, "little") + binary + b"\n"
    write_journal(
        folder, export(0, "a.service", "x").encode().replace(b"\n\n", b"\nTWICE=1\nTWICE=2\n" + field + b"\n")
    )
    journal = Journal(str(folder), ())
    journal.to_head()
    entry = journal.take()
    assert entry is not None
    assert sorted(entry.fields["TWICE"]) == [b"1", b"2"]
    assert entry.fields["RAW"] == binary
    journal.close()


def test_folders(tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match=r"There is no journal in .*/missing"):
        folder_of(str(tmp_path / "missing"), "/")
    assert folder_of(str(tmp_path), "/") == str(tmp_path)
    with pytest.raises(OperatorError, match="var/log/journal or "):
        folder_of("", str(tmp_path))
    (tmp_path / "run/log/journal").mkdir(parents=True)
    assert folder_of("", str(tmp_path)) == str(tmp_path / "run/log/journal")
