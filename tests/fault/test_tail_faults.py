"""Where log agents lose: pods that live for an instant, rotation under load, a receiver that stands still."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.polling import until
from tests.tail_follower import Follower, make_follower, running

UID = "0c2f9b9e-6d0e-4a2b-9f4c-{:012d}"
KEPT = 5  # rotated files, as the kubelet's containerLogMaxFiles
ROTATIONS = 60
PODS = 60


def cri(number: int) -> bytes:
    return f"2026-01-01T00:00:00.{number:09}Z stdout F n={number}\n".encode()


async def in_thread(work: Callable[[], None]) -> None:
    """Runs what a runtime does beside the agent, not within its loop."""
    await asyncio.get_running_loop().run_in_executor(None, work)


def is_watched(folder: Path) -> bool:
    """By an inotify of this process."""
    wanted = f" ino:{folder.stat().st_ino:x} "
    for described in Path("/proc/self/fdinfo").iterdir():
        with contextlib.suppress(OSError):
            if wanted in described.read_text():
                return True
    return False


def is_open(path: Path) -> bool:
    """In this process."""
    for descriptor in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            if os.readlink(descriptor) == str(path):
                return True
    return False


class Kubelet:
    """Makes and removes the logs of pods below a folder, as the kubelet and containerd do."""

    def __init__(self, folder: Path) -> None:
        self.pods = folder / "var/log/pods"
        self.links = folder / "var/log/containers"
        self.pods.mkdir(parents=True)
        self.links.mkdir(parents=True)

    def log(self, pod: int) -> Path:
        return self.pods / f"shop_job-{pod}_{UID.format(pod)}" / "work" / "0.log"

    def link(self, pod: int) -> Path:
        return self.links / f"job-{pod}_shop_work-{pod:064x}.log"

    def follower(self, folder: Path) -> Follower:
        path = f"{self.links}/*.log"
        return make_follower(folder, {"multiline.parser": "cri"}, Path=path, tag="kube.*")

    def remove(self, pod: int, link: Path | None) -> None:
        log = self.log(pod)
        for path in log.parent.glob("0.log*"):
            path.unlink()
        if link is not None:
            link.unlink()
        log.parent.rmdir()
        log.parent.parent.rmdir()


def test_pods_that_live_for_an_instant(tmp_path: Path) -> None:
    """Each is gone 10 ms after its link was made; nothing is left when the agent's look would come."""
    kubelet = Kubelet(tmp_path)

    def live() -> None:
        for pod in range(PODS):
            log, link = kubelet.log(pod), kubelet.link(pod)
            log.parent.mkdir(parents=True)
            # The runtime needs some 100 ms from here to the first line; half of it is harder. Other load
            # delays the runtime as it does the agent.
            time.sleep(0.05)
            until(functools.partial(is_watched, log.parent), every_s=0.001)
            with log.open("wb", buffering=0) as writer:
                writer.write(cri(0))
                link.symlink_to(log)
                for number in range(1, 50):
                    writer.write(cri(number))
            time.sleep(0.01)
            until(functools.partial(is_open, log), every_s=0.001)
            kubelet.remove(pod, link)

    async def follow() -> Follower:
        async with running(kubelet.follower(tmp_path)) as follower:
            await in_thread(live)
            await follower.intake.wait_for(PODS * 50)
            await follower.until(lambda: follower.count("fluentbit_input_files_closed_total") == PODS)
        return follower

    found = asyncio.run(follow()).intake.by_tag()
    wanted = {"kube" + str(kubelet.link(pod)).replace("/", ".") for pod in range(PODS)}
    assert set(found) == wanted
    assert all(texts == [f"n={number}" for number in range(50)] for texts in found.values())


def test_pods_whose_link_was_never_seen(tmp_path: Path) -> None:
    """The kubelet makes the link after the start; a container may be gone before that."""
    kubelet = Kubelet(tmp_path)

    def live() -> None:
        for pod in range(PODS):
            kubelet.log(pod).parent.mkdir(parents=True)
            time.sleep(0.05)  # in which the runtime makes the container
            kubelet.log(pod).write_bytes(cri(0) + cri(1))
            time.sleep(0.01)
            kubelet.remove(pod, None)

    async def follow() -> Follower:
        async with running(kubelet.follower(tmp_path)) as follower:
            await in_thread(live)
            await follower.intake.wait_for(PODS * 2)
        return follower

    found = asyncio.run(follow()).intake.by_tag()
    assert {tag.rpartition("_shop_work-")[0].rpartition(".")[2] for tag in found} == {
        f"job-{pod}" for pod in range(PODS)
    }
    assert all(texts == ["n=0", "n=1"] for texts in found.values())


def test_the_last_line_before_deletion_a_thousand_times(tmp_path: Path) -> None:
    """Each container writes its last line and is deleted within milliseconds; nothing is lost of any."""
    kubelet = Kubelet(tmp_path)
    pods = range(1000)

    def live() -> None:
        for first in pods[::50]:
            batch = pods[first : first + 50]
            for pod in batch:
                kubelet.log(pod).parent.mkdir(parents=True)
            time.sleep(0.01)
            for pod in batch:
                kubelet.log(pod).write_bytes(cri(0))
                kubelet.link(pod).symlink_to(kubelet.log(pod))
            for pod in batch:
                with kubelet.log(pod).open("ab", buffering=0) as writer:
                    writer.write(cri(1))
                kubelet.remove(pod, kubelet.link(pod))

    async def follow() -> Follower:
        async with running(kubelet.follower(tmp_path)) as follower:
            await in_thread(live)
            await follower.intake.wait_for(2 * len(pods))
        return follower

    found = asyncio.run(follow()).intake.by_tag()
    assert set(found) == {"kube" + str(kubelet.link(pod)).replace("/", ".") for pod in pods}
    assert all(texts == ["n=0", "n=1"] for texts in found.values())


class Writer:
    """A container that writes as fast as it can; its log is renamed, and only the last KEPT stay."""

    def __init__(self, log: Path, pause_s: float) -> None:
        self.log = log
        self.records = 0
        self._pause_s = pause_s
        self._ended = threading.Event()
        self._fd = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self._exchange = threading.Lock()

    def write(self) -> None:
        while not self._ended.is_set():
            block = b"".join(cri(self.records + number) for number in range(200))
            with self._exchange:
                os.write(self._fd, block)
            self.records += 200
            time.sleep(self._pause_s)

    def rotate(self) -> None:
        """Not atomic, as the kubelet's: what comes between rename and reopening is in the old file."""
        for turn in range(ROTATIONS):
            time.sleep(0.05)
            self.log.rename(f"{self.log}.20260101-{turn:06}")
            time.sleep(0.005)
            following = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            with self._exchange:
                self._fd, old = following, self._fd
            os.close(old)
            if turn >= KEPT:
                Path(f"{self.log}.20260101-{turn - KEPT:06}").unlink()
        self._ended.set()

    def run(self) -> None:
        writing = threading.Thread(target=self.write)
        writing.start()
        self.rotate()
        writing.join()
        os.close(self._fd)


def rotate_under_load(tmp_path: Path, *, stands_still: bool) -> None:
    log = tmp_path / "0.log"
    writer = Writer(log, pause_s=0.001)

    async def follow() -> Follower:
        config = make_follower(tmp_path, {"multiline.parser": "cri"}, Path=f"{tmp_path}/*.log")
        async with running(config) as follower:
            if stands_still:
                follower.intake.has_room.clear()
            await in_thread(writer.run)
            follower.intake.has_room.set()
            await follower.intake.wait_for(writer.records)
        return follower

    texts = asyncio.run(follow()).intake.texts()
    assert texts == [f"n={number}" for number in range(writer.records)]


def test_rotation_under_load(tmp_path: Path) -> None:
    rotate_under_load(tmp_path, stands_still=False)


def test_rotation_under_load_while_the_receiver_stands_still(tmp_path: Path) -> None:
    """Files are deleted unread by their names, and read by their descriptors."""
    rotate_under_load(tmp_path, stands_still=True)


def test_a_part_without_an_end_is_delivered_when_the_container_has_ended(tmp_path: Path) -> None:
    log = tmp_path / "0.log"

    async def follow() -> Follower:
        config = make_follower(
            tmp_path, {"multiline.parser": "cri"}, Path=f"{tmp_path}/*.log", Rotate_Wait="0.2"
        )
        async with running(config) as follower:
            with log.open("wb", buffering=0) as writer:
                writer.write(b"2026-01-01T00:00:00Z stdout F whole\n")
                writer.write(b"2026-01-01T00:00:00Z stdout P no end\n")
                await follower.intake.wait_for(1)
                assert follower.intake.texts() == ["whole"]
            await follower.intake.wait_for(2)
        return follower

    assert asyncio.run(follow()).intake.texts() == ["whole", "no end"]


def test_many_tiny_files(tmp_path: Path) -> None:
    """A container that makes file after file in a directory that Path means: each is read, and nothing is
    kept of those that are gone. `TINY_FILES` says how many; `make soak` has a hundred thousand."""
    total, at_once = int(os.environ.get("TINY_FILES", "10000")), 100

    def make(first: int) -> None:
        for number in range(first, min(first + at_once, total)):
            (tmp_path / f"{number}.log").write_bytes(b"n=%d\n" % number)

    def remove(first: int) -> None:
        for number in range(first, min(first + at_once, total)):
            (tmp_path / f"{number}.log").unlink()

    async def follow() -> Follower:
        keys = {"Refresh_Interval": "0.2", "DB": f"{tmp_path}/positions.db"}
        async with running(make_follower(tmp_path, keys, Path=f"{tmp_path}/*.log", tag="t")) as follower:
            for first in range(0, total, at_once):
                await in_thread(functools.partial(make, first))
                await follower.intake.wait_for(min(first + at_once, total))
                await in_thread(functools.partial(remove, first))
            await follower.until(lambda: follower.count("fluentbit_input_files_closed_total") == total)
            await follower.until(lambda: not follower.tail.logs_known)
        return follower

    follower = asyncio.run(follow())
    found = [int(text.removeprefix("n=")) for text in follower.intake.texts()]
    assert sorted(found) == list(range(total))


def test_links_that_lead_out_are_not_followed_however_they_come(tmp_path: Path) -> None:
    """What a container puts into its log directory: links to secrets, to devices, through other links, and
    links that change where they lead while they are looked at."""
    kubelet = Kubelet(tmp_path)
    secret = tmp_path / "secret"
    secret.write_bytes(b"root:x\n")
    inner = kubelet.links / "inner"
    inner.symlink_to(tmp_path)
    traps = {
        "shadow": secret,
        "through": inner / "secret",
        "up": Path("../../../secret"),
        "device": Path("/dev/zero"),
        "proc": Path("/proc/self/environ"),
    }
    ended = threading.Event()

    def change() -> None:
        good, turning = kubelet.links / "good.log", kubelet.links / "turning.log"
        while not ended.is_set():
            for number, target in enumerate((secret, good)):
                (kubelet.links / f"turn{number}").symlink_to(target)
                (kubelet.links / f"turn{number}").rename(turning)

    async def follow() -> Follower:
        follower = kubelet.follower(tmp_path)
        changing = threading.Thread(target=change)
        async with running(follower):
            changing.start()
            for name, target in traps.items():
                (kubelet.links / f"{name}.log").symlink_to(target)
            (kubelet.links / "good.log").write_bytes(cri(0))
            await follower.intake.wait_for(1)
            refused = "podwitness_tail_files_refused_total"
            await follower.until(lambda: follower.count(refused) >= len(traps))
            ended.set()
            changing.join()
        return follower

    assert set(asyncio.run(follow()).intake.texts()) == {"n=0"}


def test_positions_on_a_full_disk(tmp_path: Path) -> None:
    """The agent goes on, says so and counts it; when there is room again the positions are written."""
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "none", str(disk)], check=True)
    try:
        fill_and_follow(tmp_path, disk)
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


def fill_and_follow(folder: Path, disk: Path) -> None:
    filling, log = disk / "filling", folder / "a.log"
    keys = {"Path": f"{folder}/*.log", "DB": f"{disk}/positions.db"}
    failures = "podwitness_position_commit_failures_total"

    async def follow() -> None:
        async with running(make_follower(folder, keys)) as follower:
            positions = follower.intake.positions
            assert positions is not None
            with filling.open("wb", buffering=0) as writer, contextlib.suppress(OSError):
                while writer.write(bytes(4096)):
                    pass
            for number in range(200):
                (folder / f"{number}.log").write_bytes(cri(number))
            await follower.intake.wait_for(200)
            await positions.commit()
            assert follower.metrics.value(failures) == 1
            log.write_bytes(cri(200))
            await follower.intake.wait_for(201)
            filling.unlink()
            await positions.commit()
            assert follower.metrics.value(failures) == 1
        with log.open("ab") as writer:
            writer.write(cri(201))
        async with running(make_follower(folder, keys)) as second:
            await second.intake.wait_for(1)
        assert second.intake.texts() == [cri(201).decode().rstrip("\n")]

    asyncio.run(follow())


def test_a_position_database_that_is_damaged_is_kept_and_begun_anew(tmp_path: Path) -> None:
    """Nothing is lost by it: what had a position is read again from its head."""
    log, database = tmp_path / "a.log", tmp_path / "positions.db"
    keys = {"Path": f"{tmp_path}/*.log", "DB": str(database)}

    async def follow(count: int) -> list[str]:
        async with running(make_follower(tmp_path, keys)) as follower:
            with log.open("ab") as writer:
                writer.write(b"new\n")
            await follower.intake.wait_for(count)
        return follower.intake.texts()

    assert asyncio.run(follow(1)) == ["new"]
    for byte in range(0, 4096, 64):
        with database.open("r+b") as file:
            file.seek(byte)
            file.write(b"\xff" * 32)
    assert asyncio.run(follow(2)) == ["new", "new"]
    assert len(list(tmp_path.glob("positions.db.corrupt-*"))) == 1
    assert asyncio.run(follow(1)) == ["new"]


def test_wall_clock_that_jumps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Waiting goes by the monotonic clock; records have the time that they have, or that of reading."""
    clock = [time.time_ns()]
    monkeypatch.setattr("time.time_ns", lambda: clock[0])
    monkeypatch.setattr("time.time", lambda: clock[0] / 1e9)
    log = tmp_path / "0.log"

    async def follow() -> Follower:
        config = make_follower(tmp_path, Path=f"{tmp_path}/*.log", Rotate_Wait="0.2")
        async with running(config) as follower:
            for number, jump_s in enumerate((0, 86_400, -86_400 * 30, 86_400 * 365, 0)):
                clock[0] += jump_s * 10**9
                with log.open("ab") as writer:
                    writer.write(b"n=%d\n" % number)
                await follower.intake.wait_for(number + 1)
                log.rename(f"{log}.{10 - number}")
        return follower

    assert asyncio.run(follow()).intake.texts() == [f"n={number}" for number in range(5)]
