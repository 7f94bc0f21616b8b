"""What Exclude_Path means is neither opened nor read: there at the start or later, file or link."""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tail_follower import append, make_follower, run, running

IN_ACCESS, IN_OPEN = 1, 0x20
LIBC = ctypes.CDLL(None, use_errno=True)
HIDDEN, SEEN = (f"{name}-1_shop_app-{'a' * 64}.log" for name in ("hidden", "seen"))


class Watched:
    """Who opens or reads files, whatever name they have. An O_PATH descriptor opens nothing."""

    def __init__(self) -> None:
        self._fd = LIBC.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        assert self._fd >= 0
        self._names: dict[int, str] = {}

    def made(self, path: Path, content: bytes = b"secret\n" * 10) -> Path:
        """A file as nobody but the one who follows it will touch it: to be renamed and linked to."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        wd = LIBC.inotify_add_watch(self._fd, os.fsencode(path), IN_ACCESS | IN_OPEN)
        assert wd >= 0
        self._names[wd] = path.name
        return path

    def touched(self) -> set[str]:
        """Names, as they were made, of all that were opened or read."""
        try:
            data = os.read(self._fd, 1 << 16)
        except BlockingIOError:
            return set()
        found: set[str] = set()
        while data:
            wd, _, _, size = struct.unpack_from("iIII", data)
            found.add(self._names[wd])
            data = data[16 + size :]
        return found

    def close(self) -> None:
        os.close(self._fd)


@pytest.fixture
def watched() -> Iterator[Watched]:
    watched = Watched()
    yield watched
    watched.close()


def test_files_and_links(tmp_path: Path, watched: Watched) -> None:
    """Whatever is in a directory is looked at in the order of its events: the file seen comes last."""
    logs, made = tmp_path / "logs", tmp_path / "made"
    watched.made(logs / "secret.log")
    for name in ("later", "linked", "renamed", "rotated", "seen", "below"):
        watched.made(made / name, b"%s\n" % name.encode())
    (logs / "secret-link.log").symlink_to(made / "linked")

    def appear() -> None:
        (made / "later").rename(logs / "secret-later.log")
        (logs / "secret-later-link.log").symlink_to(made / "linked")
        (made / "renamed").rename(logs / "secret.tmp")
        (logs / "secret.tmp").rename(logs / "secret-renamed.log")
        (made / "rotated").rename(logs / "secret.log.20260101-000001")
        (logs / "deep").mkdir()
        (made / "below").rename(logs / "deep" / "secret.log")
        (made / "seen").rename(logs / "seen.log")

    async def scenario() -> None:
        keys = {"Path": f"{logs}/*.log,{logs}/*/*.log", "Exclude_Path": f"{logs}/*secret*.log"}
        follower = make_follower(tmp_path, keys, Read_from_Head="On")
        async with running(follower):
            assert watched.touched() == set()
            appear()
            await follower.intake.wait_for(1)
            (logs / "seen.log").rename(logs / "secret-after.log")
            append(logs / "seen.log", b"again\n")
            await follower.intake.wait_for(2)
        assert follower.intake.texts() == ["seen", "again"]
        assert watched.touched() == {"seen"}

    run(scenario())


@pytest.mark.parametrize("is_there", [True, False])
def test_pods_whose_link_is_excluded(tmp_path: Path, watched: Watched, is_there: bool) -> None:
    """Their files appear before the link does, and others' are opened then."""
    links, pods, made = tmp_path / "var/log/containers", tmp_path / "var/log/pods", tmp_path / "made"
    for folder in (links, pods):
        folder.mkdir(parents=True)
    for name in ("hidden", "seen"):
        watched.made(made / name, b"%s\n" % name.encode())

    def appear() -> None:
        for name, link in (("hidden", HIDDEN), ("seen", SEEN)):
            place = pods / f"shop_{name}-1_u1" / "app"
            place.mkdir(parents=True)
            (made / name).rename(place / "0.log")
            (links / link).symlink_to(place / "0.log")

    async def scenario() -> None:
        keys = {"Path": f"{links}/*.log", "Exclude_Path": f"{links}/hidden-*.log"}
        if is_there:
            appear()
        follower = make_follower(tmp_path, keys, Read_from_Head="On")
        async with running(follower):
            if not is_there:
                appear()
            await follower.intake.wait_for(1)
        assert follower.intake.texts() == ["seen"]
        assert watched.touched() == {"seen"}

    run(scenario())
