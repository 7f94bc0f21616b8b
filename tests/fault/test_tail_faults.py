"""Where log agents lose: pods that live for an instant, rotation under load, a receiver that stands still."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

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
            # The runtime needs some 100 ms from here to the first line; a tenth of it is harder.
            time.sleep(0.01)
            with log.open("wb", buffering=0) as writer:
                writer.write(cri(0))
                link.symlink_to(log)
                for number in range(1, 50):
                    writer.write(cri(number))
            time.sleep(0.01)
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
            time.sleep(0.01)
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
