"""Watched files: who opens, deletes or renames them, or connects to them, whatever leads there."""

from __future__ import annotations

import os
import signal
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from collector.inputs.watched_names import DEFAULT, read_name, table_of, write_table
from probes.catalog import Dialect
from tests.kernel.calls import call, refused
from tests.kernel.sandbox import Cgroup, mount, private_mounts, run
from tests.kernel.test_syscalls import Seen
from tests.kernel.witness import Witness

NAMES = ("secrets/token", "vault/*", "*/.netrc", "run/api.sock", f"long/{'n' * 40}")
AT_FDCWD, AT_EMPTY_PATH = -100, 0x1000


@pytest.fixture(scope="module", params=list(Dialect), ids=str)
def calls(request: pytest.FixtureRequest) -> Iterator[Witness]:
    witness = Witness.attach(("syscalls",), dialect=request.param)
    write_table(witness.probes.maps["watched"], table_of(map(read_name, NAMES)))
    yield witness
    witness.close()


@contextmanager
def watching(witness: Witness, names: tuple[str, ...]) -> Iterator[None]:
    table = witness.probes.maps["watched"]
    write_table(table, table_of(map(read_name, names)))
    try:
        yield
    finally:
        write_table(table, table_of(map(read_name, NAMES)))


@pytest.fixture
def witness(calls: Witness, cgroup: Cgroup) -> Witness:
    calls.forget()
    return calls


@pytest.fixture
def files(tmp_path: Path) -> Path:
    for name in (
        "secrets/token",
        "secrets/other",
        "vault/a",
        "vault/b",
        "elsewhere/.netrc",
        "elsewhere/token",
    ):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("x")
    return tmp_path


def seen(witness: Witness, cgroup: Cgroup, work: Callable[[], int | None]) -> list[Seen]:
    """Of files only: a test's other calls have tests of their own."""
    _, status = run(cgroup, work)
    assert status == 0
    events = [Seen.of(event) for event in witness.events(cgroup.id)]
    return [event for event in events if event.kind.startswith("PRIVILEGE_FILE_")]


def read(path: Path | str) -> None:
    os.close(os.open(path, os.O_RDONLY))


def told(events: list[Seen]) -> list[tuple[str, str]]:
    return [
        (one.kind.removeprefix("PRIVILEGE_FILE_"), os.fsdecode(one.path or one.texts[0])) for one in events
    ]


def test_only_watched_files_are_told_each_time(witness: Witness, cgroup: Cgroup, files: Path) -> None:
    def work() -> None:
        for path in sorted(files.glob("*/*")) + sorted(files.glob("*/.netrc")):
            for _ in range(3):
                read(path)

    wanted = [files / name for name in ("secrets/token", "vault/a", "vault/b", "elsewhere/.netrc")]
    counted = told(seen(witness, cgroup, work))
    # glob() gives names that begin with a dot as well
    assert sorted(set(counted)) == sorted(("READ", str(path)) for path in wanted)
    assert counted.count(("READ", str(wanted[0]))) == 3


def test_reading_and_writing_are_told_apart(witness: Witness, cgroup: Cgroup, files: Path) -> None:
    token = files / "secrets" / "token"

    def work() -> None:
        read(token)
        os.close(os.open(token, os.O_WRONLY))
        os.close(os.open(token, os.O_RDWR | os.O_APPEND))
        os.close(os.open(token, os.O_RDONLY | os.O_TRUNC))
        os.close(os.open(token, os.O_PATH))
        os.close(call("creat", os.fsencode(token), 0o600))
        os.close(call("openat2", AT_FDCWD, os.fsencode(token), struct.pack("=3Q", os.O_WRONLY, 0, 0), 24))
        os.truncate(token, 0)

    events = seen(witness, cgroup, work)
    assert [one.kind.rpartition("_")[2] for one in events] == ["READ", *["WRITE"] * 6]
    assert [one.name for one in events[-3:]] == ["creat", "openat2", "truncate"]
    assert events[2].arguments[2] & 0xFFF == os.O_RDWR | os.O_APPEND


def test_whatever_leads_to_a_file_it_is_told(witness: Witness, cgroup: Cgroup, files: Path) -> None:
    (files / "link").symlink_to("secrets/token")
    (files / "mounted").mkdir()

    def work() -> None:
        read(files / "link")
        os.chdir(files / "secrets")
        read("token")
        read("/proc/self/cwd/token")
        private_mounts()
        mount(str(files / "secrets"), str(files / "mounted"), "", 4096)
        read(files / "mounted" / "token")

    events = seen(witness, cgroup, work)
    assert [one.kind for one in events] == ["PRIVILEGE_FILE_READ"] * 4
    assert [os.fsdecode(one.path) for one in events] == [
        *[str(files / "secrets" / "token")] * 3,
        str(files / "mounted" / "token"),
    ]


def test_ways_out_of_a_container_are_watched_by_default(witness: Witness, cgroup: Cgroup) -> None:
    def work() -> None:
        child = os.fork()
        if child == 0:
            signal.pause()
        os.close(os.open(f"/proc/{child}/mem", os.O_RDWR))
        os.close(os.open(f"/proc/{child}/task/{child}/mem", os.O_RDONLY))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        for name in ("core_pattern", "ostype"):
            os.close(
                os.open(f"/proc/sys/kernel/{name}", os.O_WRONLY if name == "core_pattern" else os.O_RDONLY)
            )

    with watching(witness, DEFAULT):
        events = seen(witness, cgroup, work)
    assert [(one.kind.rpartition("_")[2], os.fsdecode(one.path).rpartition("/")[2]) for one in events] == [
        ("WRITE", "mem"),
        ("READ", "mem"),
        ("WRITE", "core_pattern"),
    ]


def test_a_mounted_folder_has_its_own_name_and_that_of_the_place(
    witness: Witness, cgroup: Cgroup, files: Path
) -> None:
    (files / "place" / "vault").mkdir(parents=True)

    def work() -> None:
        private_mounts()
        mount(str(files / "elsewhere"), str(files / "place" / "vault"), "", 4096)
        read(files / "place" / "vault" / "token")
        mount(str(files / "secrets"), str(files / "place"), "", 4096)
        read(files / "place" / "token")
        read(files / "place" / "other")

    events = seen(witness, cgroup, work)
    assert [os.fsdecode(one.path) for one in events] == [
        str(files / "place" / "vault" / "token"),
        str(files / "place" / "token"),
    ]


def test_a_mounted_token_as_kubelet_writes_it(witness: Witness, cgroup: Cgroup, tmp_path: Path) -> None:
    """A tmpfs with a folder for the time, a link ..data to it, and links in the place of the files."""
    place = tmp_path / "run" / "secrets"
    place.mkdir(parents=True)

    def work() -> None:
        private_mounts()
        mount("tmpfs", str(place), "tmpfs")
        (place / "..2025_11_24_01_58_00.12").mkdir()
        (place / "..2025_11_24_01_58_00.12" / "token").write_text("x")
        (place / "..data").symlink_to("..2025_11_24_01_58_00.12")
        (place / "token").symlink_to("..data/token")
        read(place / "token")

    written, opened = seen(witness, cgroup, work)
    assert (written.kind, opened.kind) == ("PRIVILEGE_FILE_WRITE", "PRIVILEGE_FILE_READ")
    assert opened.texts[0] == os.fsencode(place / "token")
    assert opened.path == os.fsencode(place / "..2025_11_24_01_58_00.12" / "token")


def test_attempts_that_are_refused(witness: Witness, cgroup: Cgroup, files: Path) -> None:
    token = files / "secrets" / "token"
    token.chmod(0o600)
    for folder in (files, *files.parents):
        if folder.stat().st_uid == os.getuid() and str(folder).startswith("/tmp/"):
            folder.chmod(folder.stat().st_mode | 0o055)

    def work() -> int:
        os.chdir(files / "secrets")
        os.setresuid(65534, 65534, 65534)
        read(files / "secrets" / "other")
        attempts = [refused("open", os.fsencode(token), 0), refused("open", b"token", 2)]
        folder = os.open(".", os.O_PATH)
        os.chdir("/")
        attempts.append(refused("openat", folder, b"token", 0))
        return attempts != ["EACCES"] * 3

    events = seen(witness, cgroup, work)
    assert [(one.kind.rpartition("_")[2], os.fsdecode(one.texts[0])) for one in events] == [
        ("READ", str(token)),
        ("WRITE", "token"),
        ("READ", "token"),
    ]
    assert [os.fsdecode(one.path) for one in events] == ["", *[str(token.parent)] * 2]
    assert [one.result for one in events] == [-13] * 3


def test_deleting_renaming_and_what_is_not_there(witness: Witness, cgroup: Cgroup, files: Path) -> None:
    def work() -> None:
        refused("open", os.fsencode(files / "vault" / "nothing"), 0)
        os.rename(files / "vault" / "a", files / "elsewhere" / "a")
        os.rename(files / "elsewhere" / "a", files / "vault" / "a")
        folder = os.open(files / "vault", os.O_RDONLY)
        other = os.open(files / "elsewhere", os.O_RDONLY)
        os.rename("a", "moved", src_dir_fd=folder, dst_dir_fd=other)
        os.rename("moved", "a", src_dir_fd=other, dst_dir_fd=folder)
        os.unlink("a", dir_fd=folder)
        os.chdir(files / "vault")
        os.unlink("b")
        os.unlink(files / "elsewhere" / "token")

    events = seen(witness, cgroup, work)
    assert [one.kind.rpartition("_")[2] for one in events] == [*["RENAME"] * 4, *["DELETE"] * 2]
    first, second, *by_descriptor, second_last, last = events
    deleted = (second_last, last)
    assert [one.texts[:2] for one in by_descriptor] == [[b"a", b"moved"], [b"moved", b"a"]]
    assert [first.texts[1], second.texts[0]] == [os.fsencode(files / "elsewhere" / "a")] * 2
    assert {one.path for one in deleted} == {os.fsencode(files / "vault")}
    assert [one.texts[0] for one in deleted] == [b"a", b"b"]


def test_another_name_for_a_watched_file(witness: Witness, cgroup: Cgroup, files: Path) -> None:
    """What is read by the other name is not seen, but that it was made is."""
    token = files / "secrets" / "token"

    def work() -> None:
        os.link(files / "secrets" / "other", files / "plain")
        os.link(token, files / "one")
        folder, place = (os.open(path, os.O_RDONLY) for path in (files / "secrets", files))
        os.link("token", "two", src_dir_fd=folder, dst_dir_fd=place)
        held = os.open(token, os.O_PATH)
        call("linkat", held, b"", place, b"three", AT_EMPTY_PATH)
        call("linkat", place, b"", place, b"four", AT_EMPTY_PATH)
        os.link(files / "plain", files / "vault" / "c")

    _, status = run(cgroup, work)
    assert status == 0
    events = [Seen.of(event) for event in witness.events(cgroup.id)]
    assert {one.kind for one in events} == {"PRIVILEGE_LINK"}
    assert [one.texts[:2] for one in events] == [
        [os.fsencode(token), os.fsencode(files / "one")],
        [b"token", b"two"],
        [b"", b"three"],
        [os.fsencode(files / "plain"), os.fsencode(files / "vault" / "c")],
    ]
    assert [one.result for one in events] == [0] * 4


def test_another_name_for_the_folder_of_a_watched_file(witness: Witness, cgroup: Cgroup, files: Path) -> None:
    def work() -> None:
        os.rename(files / "secrets", files / "other")
        read(files / "other" / "token")
        os.rename(files / "other", files / "secrets")
        os.rename(files / "elsewhere", files / "nowhere")  # of which a file is watched in any folder
        (files / "vault" / "a").unlink()
        (files / "vault" / "b").unlink()
        os.chdir(files)
        os.rename("vault", "cellar")
        refused("open", os.fsencode(files / "vault"), 0)
        read(files / "secrets")

    events = seen(witness, cgroup, work)
    assert told(events) == [
        ("RENAME", str(files / "secrets")),
        ("RENAME", str(files / "other")),
        *[("DELETE", str(files / "vault" / name)) for name in "ab"],
        ("RENAME", str(files)),
    ]
    assert events[-1].texts[:2] == [b"vault", b"cellar"]


def test_connecting_to_a_socket(witness: Witness, cgroup: Cgroup, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    path = str(tmp_path / "run" / "api.sock")
    with socket.socket(socket.AF_UNIX) as server, socket.create_server(("127.0.0.1", 0)) as other:
        server.bind(path)
        server.listen()

        def work() -> None:
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(path)
            socket.create_connection(other.getsockname()).close()

        (event,) = seen(witness, cgroup, work)
    assert (event.kind, event.name, event.result) == ("PRIVILEGE_FILE_CONNECT", "connect", 0)
    assert event.texts[0] == os.fsencode(path)


def test_of_long_names_the_beginning_counts(witness: Witness, cgroup: Cgroup, tmp_path: Path) -> None:
    folder = tmp_path / "long"
    folder.mkdir()
    for name in ("n" * 40, "n" * 35, "n" * 30):
        (folder / name).touch()

    def work() -> None:
        for name in ("n" * 40, "n" * 35, "n" * 30):
            read(folder / name)

    assert [len(Path(path).name) for _, path in told(seen(witness, cgroup, work))] == [40, 35]
