"""Probes compiled at an earlier start: they see the same, and what does not fit is compiled anew."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from probes.cache import Cache
from probes.catalog import SUBJECTS
from probes.exchange import Origin
from probes.kept_code import Entry, Program, decode, encode
from probes.launch import Attached, ProbeError, launch, loader_command
from probes.starter import Starter
from tests.kernel.sandbox import Cgroup, run
from tests.kernel.witness import RING_BYTES, Witness

EXECS = 5


@pytest.fixture
def folder(tmp_path: Path) -> str:
    return str(tmp_path / "probes")


@pytest.fixture
def hide_bcc(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Takes away every folder that has BCC, after site has set the path up."""

    def hide() -> None:
        monkeypatch.setattr(sys, "path", [path for path in sys.path if not Path(path, "bcc").exists()])

    return hide


def attach(folder: str, *subjects: str, ring_bytes: int = 1 << 16) -> Attached:
    return asyncio.run(launch(subjects or ["cgroup"], ring_bytes=ring_bytes, cache=folder))


def origin(folder: str, *subjects: str, ring_bytes: int = 1 << 16) -> Origin:
    probes = attach(folder, *subjects, ring_bytes=ring_bytes)
    assert {hook.state for hook in probes.hooks} == {"attached"}
    probes.close()
    return probes.origin


def only_file(folder: str) -> Path:
    (file,) = Path(folder).iterdir()
    return file


def seen(folder: str, cgroup: Cgroup) -> tuple[Origin, Counter[str]]:
    witness = Witness(attach(folder, *SUBJECTS, ring_bytes=RING_BYTES))
    assert {hook.state for hook in witness.probes.hooks} == {"attached"}

    def work() -> None:
        for _ in range(EXECS):
            if os.fork() == 0:
                os.execv("/bin/true", ["true"])
            os.wait()
        with (
            socket.create_server(("127.0.0.1", 0)) as server,
            socket.create_connection(server.getsockname()) as client,
            server.accept()[0] as accepted,
        ):
            client.sendall(b"x")
            accepted.recv(1)

    run(cgroup, work)
    witness.wait_for(lambda: witness.counts(cgroup.id)["EXIT"] > EXECS)
    counts = witness.counts(cgroup.id)
    lost = sum(witness.probes.lost())
    witness.close()
    assert lost == 0
    return witness.probes.origin, counts


def test_second_start_sees_the_same_without_bcc(
    folder: str, cgroup: Cgroup, hide_bcc: Callable[[], None]
) -> None:
    first, compiled = seen(folder, cgroup)
    assert not first.is_cached
    assert not first.is_odd
    assert "nothing is kept" in first.reason
    hide_bcc()
    second, kept = seen(folder, cgroup)
    assert str(second) == "from cache"
    assert kept == compiled
    assert compiled["EXEC"] == EXECS
    assert compiled["TCP_CONNECT"] == 1


def test_without_bcc_and_without_an_entry_the_error_is_that_of_bcc(
    folder: str, hide_bcc: Callable[[], None]
) -> None:
    hide_bcc()
    with pytest.raises(ProbeError) as refused:
        attach(folder)
    assert "BCC can't be imported" in refused.value.problem


def test_another_request_is_compiled_and_kept_beside(folder: str) -> None:
    assert not origin(folder).is_cached
    assert "nothing is kept" in origin(folder, ring_bytes=1 << 17).reason
    assert "nothing is kept" in origin(folder, "process", "cgroup").reason
    assert origin(folder).is_cached
    assert origin(folder, ring_bytes=1 << 17).is_cached
    assert len(list(Path(folder).iterdir())) == 3


def test_starter_has_its_own_folder(folder: str) -> None:
    starter = Starter.fork(loader_command(folder), lambda: None)
    origins = []
    for _ in range(2):
        probes = asyncio.run(launch(["cgroup"], ring_bytes=1 << 16, starter=starter, cache="/proc"))
        origins.append(probes.origin.is_cached)
        probes.close()
    starter.close()
    os.wait()
    assert origins == [False, True]


def rewrite(change: Callable[[Entry], Entry]) -> Callable[[Path], None]:
    """With a checksum that is right."""

    def spoil(file: Path) -> None:
        file.write_bytes(encode(change(decode(file.read_bytes(), file.stem))))

    return spoil


def flip_a_byte(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[-20] ^= 1
    file.write_bytes(content)


def with_code(change: Callable[[Program], Program]) -> Callable[[Entry], Entry]:
    def changed(entry: Entry) -> Entry:
        programs = {name: change(program) for name, program in entry.programs.items()}
        return Entry(entry.key, entry.compiler, entry.btf_ids, entry.attached, programs)

    return changed


SPOILED: dict[str, tuple[Callable[[Path], object], str]] = {
    "altered": (flip_a_byte, "its checksum is wrong"),
    "cut": (lambda file: os.truncate(file, 300), "its checksum is wrong"),
    "of another user": (lambda file: os.chown(file, 1000, 1000), "it belongs to user 1000, not to 0"),
    "open to others": (lambda file: file.chmod(0o644), "it is open to others: mode 644"),
    "of another BCC": (
        rewrite(lambda entry: Entry(entry.key, "0.1", entry.btf_ids, entry.attached, entry.programs)),
        "BCC was 0.1 and is ",
    ),
    "of another kernel": (
        rewrite(lambda entry: Entry("0", entry.compiler, entry.btf_ids, entry.attached, entry.programs)),
        "made for another kernel",
    ),
    "refused by the verifier": (
        # Its last instruction is no exit: the program would run on into nothing.
        rewrite(with_code(lambda program: Program(program.code[:-8] + b"\xb7" + bytes(7), program.maps))),
        "no longer takes cgroup_mkdir as it was kept",
    ),
    "with a map that there is not": (
        rewrite(with_code(lambda program: Program(program.code, tuple((at, "x") for at, _ in program.maps)))),
        "a map x, which there is not",
    ),
    "not for that tracepoint": (
        rewrite(lambda entry: Entry(entry.key, entry.compiler, {}, entry.attached, entry.programs)),
        "no longer takes cgroup_mkdir as it was kept",
    ),
}


@pytest.mark.parametrize("spoil", SPOILED)
def test_what_does_not_fit_is_compiled_and_replaced(spoil: str, folder: str) -> None:
    change, reason = SPOILED[spoil]
    assert not origin(folder).is_cached
    file = only_file(folder)
    before = decode(file.read_bytes(), file.stem)
    change(file)
    found = origin(folder)
    assert not found.is_cached
    assert reason in found.reason
    assert origin(folder).is_cached
    assert decode(only_file(folder).read_bytes(), file.stem).attached == before.attached


def test_folder_that_is_open_to_others_is_not_used(folder: str) -> None:
    Path(folder).mkdir()
    Path(folder).chmod(0o777)
    found = origin(folder)
    assert found.is_odd
    assert "is open to others: mode 777" in found.reason
    assert "not kept" in found.reason
    assert not list(Path(folder).iterdir())


def test_cache_is_of_the_request_that_asked(folder: str) -> None:
    """What the loader sends as `cached` was written under the key that it reads."""
    origin(folder)
    file = only_file(folder)
    entry = Cache(folder).read(file.stem)
    assert entry.key == file.stem
    assert entry.attached == {"cgroup_mkdir", "cgroup_rmdir"}
