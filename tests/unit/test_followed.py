"""How files come, get a name, and go."""

from __future__ import annotations

import gzip
import logging
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from collector.config.schema import load
from collector.delivery.chunk import FileKey, Position
from collector.delivery.positions import Positions
from collector.filters.chain import FilterChain
from collector.identity.table import IdentityTable
from collector.inputs.beginnings import Beginnings
from collector.inputs.file_events import FileEvents
from collector.inputs.follow import FollowedFile
from collector.inputs.followed import FORGET_S, Followed
from collector.inputs.succession import Plans
from collector.inputs.tail_files import Found
from collector.inputs.tail_open import open_pinned, pin
from collector.inputs.tail_paths import KubeletRoots, select
from collector.inputs.tail_settings import Settings
from collector.plan import Framing, Layout, LogPlan
from collector.service.metrics import Metrics
from collector.service.table import TABLE
from tests.tail_follower import section


class Shelf:
    """Followed files of a folder, and what was told about them."""

    def __init__(self, folder: Path, **keys: str) -> None:
        self.folder = folder
        self.ready: list[FollowedFile] = []
        self.counted: Counter[str] = Counter()
        self.refused: list[str] = []
        self.positions = Positions(None, log=logging.getLogger("test"), metrics=Metrics(TABLE))
        self.events = FileEvents(lambda problem: pytest.fail(str(problem)))
        settings = load(Settings, section(Path=f"{folder}/*.log", **keys))
        plan = LogPlan(Framing.LINE, Layout())
        identities = IdentityTable.open("node-1", str(folder))
        self.followed = Followed(
            settings,
            select(settings.path, ()),
            Plans(plan, "t.*", "", KubeletRoots(), identities, FilterChain(())),
            Beginnings(self.positions, is_first_start=False, read_from_head=True),
            self.events,
            ready=self.ready.extend,
            refuse=lambda path, _: self.refused.append(path),
            count=lambda name: self.counted.update([name.removeprefix("fluentbit_input_files_")]),
            log=logging.getLogger("test"),
        )

    def find(
        self, path: Path, *, early: bool = False, name: str = "", moved: bool = False
    ) -> FollowedFile | None:
        opened = open_pinned(pin(str(path)), (str(self.folder),))
        self.followed.take(Found(opened, name or str(path), str(path), early, False, moved), 0.0)
        return self.followed.files.get((opened.device, opened.inode))


@pytest.fixture
def shelf(tmp_path: Path) -> Iterator[Shelf]:
    made = Shelf(tmp_path)
    yield made
    made.followed.close()
    made.events.close()


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_a_file_is_opened_once(tmp_path: Path, shelf: Shelf) -> None:
    path = tmp_path / "a.log"
    path.write_bytes(b"x\n")
    file = shelf.find(path)
    assert file is not None
    before = descriptors()
    assert shelf.find(path) is file
    assert descriptors() == before
    assert shelf.counted == {"opened_total": 1}
    assert shelf.ready[0] is file
    assert shelf.followed.names == {file.inode: str(path)}
    succession = shelf.followed.succession_of(file)
    assert succession is not None
    assert succession.files == [file]


def test_a_file_that_was_found_early_gets_its_name_later(tmp_path: Path, shelf: Shelf) -> None:
    path = tmp_path / "0.log"
    path.write_bytes(b"x\n")
    file = shelf.find(path, early=True)
    assert file is not None
    assert shelf.followed.names == {file.inode: ""}
    shelf.ready.clear()
    shelf.find(path, name="/var/log/containers/x.log")
    assert shelf.followed.names == {file.inode: "/var/log/containers/x.log"}
    assert shelf.ready == [file]
    shelf.find(path, name="/var/log/containers/y.log")
    assert shelf.followed.names == {file.inode: "/var/log/containers/x.log"}


def test_files_of_one_name_follow_each_other(tmp_path: Path, shelf: Shelf) -> None:
    path = tmp_path / "0.log"
    path.write_bytes(b"1\n")
    first = shelf.find(path)
    shelf.followed.first_look_is_over(0.0)
    path.rename(tmp_path / "0.log.20260101-000000")
    path.write_bytes(b"2\n")
    path.rename(tmp_path / "0.log.20260102-000000")
    path.write_bytes(b"3\n")
    last = shelf.find(path)
    assert first is not None
    assert last is not None
    succession = shelf.followed.succession_of(last)
    assert succession is not None
    names = [Path(os.readlink(f"/proc/self/fd/{file.fd}")).name for file in succession.files]
    assert names == ["0.log.20260101-000000", "0.log.20260102-000000", "0.log"]
    assert (succession.after(first), succession.after(last)) == (succession.files[1], None)
    assert list(succession.before(last)) == succession.files[:2]
    assert shelf.counted["rotated_total"] == 2


def test_a_file_that_is_left_is_closed_and_at_last_forgotten(tmp_path: Path, shelf: Shelf) -> None:
    path = tmp_path / "a.log"
    path.write_bytes(b"x\n")
    before = descriptors()
    file = shelf.find(path)
    assert file is not None
    file.read_portion(1)
    key = file.key
    shelf.positions.record(Position(key, str(path), 2))
    path.unlink()
    file.look_at_names()
    succession = shelf.followed.succession_of(file)
    assert succession is not None
    shelf.followed.leave(succession, file, 0.0)
    assert descriptors() == before
    assert shelf.followed.succession_of(file) is None
    shelf.followed.forget(FORGET_S - 1)
    assert shelf.positions.load(FileKey(key.device, key.inode)) is not None
    shelf.followed.forget(FORGET_S)
    assert shelf.positions.load(FileKey(key.device, key.inode)) is None
    assert shelf.followed.successions == {}


def test_old_files_and_finished_ones_are_passed_by(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path, Ignore_Older="1h")
    path = tmp_path / "a.log"
    path.write_bytes(b"x\n")
    os.utime(path, (1, 1))
    before = descriptors()
    assert shelf.find(path) is None
    assert descriptors() == before
    os.utime(path)
    file = shelf.find(path)
    assert file is not None
    file.read_portion(1)
    file.look_at_head()
    succession = shelf.followed.succession_of(file)
    assert succession is not None
    shelf.followed.leave(succession, file, 0.0)
    assert shelf.find(path) is None
    assert shelf.counted == {"opened_total": 1, "closed_total": 1}
    shelf.events.close()


def test_a_file_that_was_renamed_over_another_is_known_as_such(tmp_path: Path, shelf: Shelf) -> None:
    path = tmp_path / "a.log"
    path.write_bytes(b"x\n")
    file = shelf.find(path)
    assert file is not None
    assert not file.replaced
    shelf.find(path, moved=True)
    assert file.replaced


def test_a_compressed_file_that_is_of_no_log_is_named(tmp_path: Path, shelf: Shelf) -> None:
    for name in ("a.log.1.gz", "a.log-20260101.gz", "archive.gz", "b.txt.gz"):
        (tmp_path / name).write_bytes(gzip.compress(b"1\n"))
        assert shelf.find(tmp_path / name) is None
    assert shelf.refused == [f"{tmp_path}/archive.gz", f"{tmp_path}/b.txt.gz"]
