"""probes.cache, kept_code and cache_key: what is written is read again, and nothing else is."""

from __future__ import annotations

import fcntl
import hashlib
import os
import stat
import struct
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes import cache_key
from probes.cache import ENTRIES, ENTRY_BYTES, Cache
from probes.cache_key import compiler_version, key_of
from probes.catalog import Dialect, RecordKind, RingSizes
from probes.codes import Codes, CompileError, Unit
from probes.exchange import Request
from probes.kept_code import (
    MAGIC,
    Entry,
    NotKept,
    Program,
    Recorder,
    Replay,
    decode,
    encode,
    numbered,
    symbolic,
)

KEY = "5e" * 32
EXIT = struct.pack("<BBhi", 0x95, 0, 0, 0)


def load_64(kind: int, value: int) -> bytes:
    return struct.pack("<BBhiBBhi", 0x18, kind << 4 | 1, 0, value, 0, 0, 0, 0)


CODE = load_64(1, 7) + load_64(0, 7) + EXIT + load_64(1, 9) + EXIT
PROGRAM = symbolic(CODE, {7: "ring", 9: "lost"})
ENTRY = Entry(
    KEY,
    "0.26.0",
    {"sched_process_exec": 4711},
    frozenset({"sched_process_exec"}),
    {(Dialect.TP_BTF, "sched_process_exec"): PROGRAM, (Dialect.RAW_TP, "cgroup_mkdir"): Program(EXIT, ())},
)
SIZES = RingSizes(65536, 65536)
REQUEST = Request(("process", "cgroup"), SIZES)


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(str(tmp_path / "state" / "probes"))


@pytest.fixture
def written(cache: Cache) -> Path:
    """The file of ENTRY."""
    cache.write(ENTRY)
    (file,) = Path(cache.directory).iterdir()
    return file


def refusal(cache: Cache, key: str = KEY) -> NotKept:
    with pytest.raises(NotKept) as refused:
        cache.read(key)
    return refused.value


def test_maps_are_named_and_numbered_again() -> None:
    assert PROGRAM.maps == ((0, "ring"), (40, "lost"))
    assert numbered(PROGRAM, {"ring": 7, "lost": 9, "other": 3}) == CODE
    renumbered = numbered(PROGRAM, {"ring": 100, "lost": 101})
    assert renumbered == load_64(1, 100) + load_64(0, 7) + EXIT + load_64(1, 101) + EXIT


def test_second_half_of_a_load_is_no_instruction() -> None:
    high = bytearray(load_64(0, 1) + EXIT)
    high[8] = 0x18
    assert symbolic(bytes(high), {}).maps == ()


@pytest.mark.parametrize("code", [load_64(1, 8), load_64(2, 7), load_64(3, 1)])
def test_code_that_refers_to_what_is_not_ours_is_not_kept(code: bytes) -> None:
    with pytest.raises(ValueError, match=r"code (refers to descriptor 8|loads something of kind)"):
        symbolic(code, {7: "ring"})


def test_map_that_there_is_not() -> None:
    with pytest.raises(NotKept, match="a map lost, which there is not"):
        numbered(PROGRAM, {"ring": 7})


def test_what_is_written_is_read(cache: Cache, written: Path) -> None:
    assert cache.read(KEY) == ENTRY
    assert written.name == f"{KEY}.probes"
    assert stat.S_IMODE(written.stat().st_mode) == 0o600
    assert stat.S_IMODE(written.parent.stat().st_mode) == 0o700


def test_nothing_kept_is_nothing_odd(cache: Cache, written: Path) -> None:
    for absent in (refusal(cache, "00" * 32), refusal(Cache(cache.directory + "/none"))):
        assert "nothing is kept" in str(absent)
        assert not absent.is_odd


@given(at=st.integers(min_value=0), xor=st.integers(1, 255))
def test_any_altered_byte_is_noticed(at: int, xor: int) -> None:
    altered = bytearray(encode(ENTRY))
    altered[at % len(altered)] ^= xor
    with pytest.raises(NotKept):
        decode(bytes(altered), KEY)


@given(kept=st.integers(min_value=0))
def test_any_cut_is_noticed(kept: int) -> None:
    whole = encode(ENTRY)
    with pytest.raises(NotKept):
        decode(whole[: kept % len(whole)], KEY)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}\n",
        b"[]\n",
        b"[1, 2, 3, 4, 5]\n",
        b"[" * 100_000,
        b"\xff\n",
        b'["k", "0", {"a": Infinity}, [], []]\n',
        b'["k", "0", {}, [[]], []]\n',
        b'["k", "0", {}, [], [["tp_btf", "a", 8, []]]]\n',
        b'["k", "0", {}, [], [["tp_btf", "a", 7, []]]]\n1234567',
        b'["k", "0", {}, [], [["tp_btf", "a", -8, []]]]\n12345678',
        b'["k", "0", {}, [], [["kprobe", "a", 8, []]]]\n12345678',
        b'["k", "0", {}, [], [["tp_btf", "a", 8, [[0, "ring"]]]]]\n12345678',
        b'["k", "0", {}, [], [["tp_btf", "a", 8, [[-8, "ring"]]]]]\n12345678',
    ],
    ids=lambda content: str(content[:50]),
)
def test_nonsense_with_a_right_checksum_is_refused(content: bytes) -> None:
    with pytest.raises(NotKept, match="can't be read"):
        decode(MAGIC + hashlib.sha256(content).hexdigest().encode() + b"\n" + content, "k")


def test_entry_under_a_wrong_name(cache: Cache, written: Path) -> None:
    written.rename(written.with_name("00.probes"))
    assert "made for another kernel" in str(refusal(cache, "00"))


def replace_by_link(file: Path) -> None:
    file.rename(file.with_suffix(".moved"))
    file.symlink_to(file.with_suffix(".moved"))


def replace_by_pipe(file: Path) -> None:
    file.unlink()
    os.mkfifo(file, 0o600)


def replace_folder_by_link(file: Path) -> None:
    folder = file.parent
    folder.rename(folder.with_name("moved"))
    folder.symlink_to(folder.with_name("moved"))


SPOILED: dict[str, tuple[Callable[[Path], object], str]] = {
    "file of another": (lambda file: os.chown(file, 1000, 0), "it belongs to user 1000"),
    "folder of another": (lambda file: os.chown(file.parent, 1000, 0), "belongs to user 1000"),
    "file for all to read": (lambda file: file.chmod(0o604), "it is open to others: mode 604"),
    "file for a group to write": (lambda file: file.chmod(0o620), "it is open to others: mode 620"),
    "folder for all": (lambda file: file.parent.chmod(0o1777), "is open to others: mode 1777"),
    "link": (replace_by_link, "Too many levels of symbolic links"),
    "link of the folder": (replace_folder_by_link, "Not a directory"),
    "pipe": (replace_by_pipe, "it is not a file"),
    "cut": (lambda file: os.truncate(file, 500), "its checksum is wrong"),
    "empty": (lambda file: os.truncate(file, 0), "not what this version writes"),
    "too long": (lambda file: os.truncate(file, ENTRY_BYTES + 1), "it is longer than"),
    "other format": (lambda file: file.write_bytes(b"podwitness probes 0 x\n"), "not what this version"),
}


@pytest.mark.parametrize("spoil", SPOILED)
def test_what_is_not_as_it_was_left_is_refused(spoil: str, cache: Cache, written: Path) -> None:
    change, reason = SPOILED[spoil]
    change(written)
    refused = refusal(cache)
    assert reason in str(refused)
    assert str(refused).startswith(str(written))
    assert refused.is_odd


@pytest.mark.parametrize("spoil", ["file of another", "link", "pipe", "cut", "too long"])
def test_next_writing_replaces_it(spoil: str, cache: Cache, written: Path) -> None:
    SPOILED[spoil][0](written)
    cache.write(ENTRY)
    assert cache.read(KEY) == ENTRY


def test_what_a_link_points_to_is_left_alone(cache: Cache, written: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_text("precious")
    written.unlink()
    written.symlink_to(other)
    (written.parent / "new").symlink_to(other)
    cache.write(ENTRY)
    assert other.read_text() == "precious"
    assert not written.is_symlink()


def test_nothing_is_written_to_a_folder_that_is_open_to_others(cache: Cache) -> None:
    folder = Path(cache.directory)
    folder.mkdir(parents=True)
    folder.chmod(0o755)
    with pytest.raises(NotKept, match="is open to others: mode 755"):
        cache.write(ENTRY)
    assert not list(folder.iterdir())


def test_folder_that_can_not_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(NotKept, match="can't be written to"):
        Cache(str(tmp_path / "file" / "probes")).write(ENTRY)


def test_one_writes_at_a_time(cache: Cache, written: Path) -> None:
    folder = os.open(cache.directory, os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_EX)
    with pytest.raises(NotKept, match="can't be written to"):
        cache.write(ENTRY)
    os.close(folder)
    assert cache.read(KEY) == ENTRY


def test_oldest_go(cache: Cache) -> None:
    for number in range(ENTRIES + 3):
        key = f"{number:064}"
        cache.write(
            Entry(key, *(getattr(ENTRY, name) for name in ("compiler", "btf_ids", "attached", "programs")))
        )
        os.utime(Path(cache.directory, f"{key}.probes"), ns=(number, number))
    names = sorted(path.name for path in Path(cache.directory).iterdir())
    assert names == [f"{number:064}.probes" for number in range(3, ENTRIES + 3)]


ONE, OTHER = ("sched_process_exec",), ("sched_process_exit",)
COMPILED = {"sched_process_exec": CODE, "sched_process_exit": load_64(2, 7)}


class FakeCompiler:
    """Knows two programs; the network does not compile."""

    def compile(self, units: Sequence[Unit]) -> Iterator[tuple[Unit, Codes | CompileError]]:
        for unit in units:
            if unit.subject == "network":
                yield unit, CompileError("error: no member")
            else:
                yield unit, {name: COMPILED[name] for name in unit.tracepoints}


def test_recorder_passes_on_what_replay_gives_again() -> None:
    maps = {"ring": 7, "lost": 9}
    recorder = Recorder(FakeCompiler(), maps)
    unit = Unit("process", Dialect.RAW_TP, ONE)
    assert list(recorder.compile([unit])) == [(unit, {"sched_process_exec": CODE})]
    assert not recorder.gap
    again = Replay(recorder.programs, maps)
    assert list(again.compile([unit])) == [(unit, {"sched_process_exec": CODE})]
    for other in (Unit("process", Dialect.RAW_TP, OTHER), Unit("process", Dialect.TP_BTF, ONE)):
        with pytest.raises(NotKept, match=f"no longer takes {other.tracepoints[0]}"):
            next(again.compile([unit, other]))


def test_replay_begins_with_the_longest() -> None:
    lengths = {"cgroup_mkdir": 8, "sys_exit": 32, "sys_enter": 8, "sched_process_exec": 16}
    programs = {(Dialect.TP_BTF, name): Program(bytes(size), ()) for name, size in lengths.items()}
    units = [
        Unit("cgroup", Dialect.TP_BTF, ("cgroup_mkdir",)),
        Unit("process", Dialect.TP_BTF, ONE),
        Unit("syscalls", Dialect.TP_BTF, ("sys_enter", "sys_exit")),
    ]
    made = Replay(programs, {}).compile(units)
    assert [unit.subject for unit, _ in made] == ["syscalls", "process", "cgroup"]


def test_recorder_knows_what_is_missing() -> None:
    recorder = Recorder(FakeCompiler(), {"ring": 7, "lost": 9})
    units = [Unit("process", Dialect.RAW_TP, ONE), Unit("network", Dialect.RAW_TP, ("inet_sock_set_state",))]
    made = [one for _, one in recorder.compile(units)]
    assert made[0] == {"sched_process_exec": CODE}
    assert isinstance(made[1], CompileError)
    assert recorder.gap == "error: no member"
    other = Recorder(FakeCompiler(), {"ring": 7, "lost": 9})
    assert [one for _, one in other.compile([Unit("process", Dialect.RAW_TP, OTHER)])] == [
        {"sched_process_exit": load_64(2, 7)}
    ]
    assert "kind 2" in other.gap


@pytest.fixture
def types(tmp_path: Path) -> Path:
    directory = tmp_path / "btf"
    directory.mkdir()
    (directory / "vmlinux").write_bytes(b"types of a kernel")
    return directory


@pytest.mark.parametrize(
    "other",
    [
        Request(("cgroup", "process"), SIZES),
        Request(("process",), SIZES),
        Request(("process", "cgroup"), RingSizes(131072, 65536)),
        Request(("process", "cgroup"), SIZES, Dialect.RAW_TP),
        Request(("process", "cgroup"), SIZES, None, ("HAVE_x",)),
        Request(("process", "cgroup"), SIZES, off=(("process", RecordKind.FORK),)),
    ],
    ids=str,
)
def test_each_request_has_its_key(types: Path, other: Request) -> None:
    assert key_of(REQUEST, types) == key_of(Request(("process", "cgroup"), SIZES), types)
    assert key_of(REQUEST, types) != key_of(other, types)


def test_key_follows_the_kernels_types(types: Path) -> None:
    keys = {key_of(REQUEST, types)}
    (types / "nfs").write_bytes(b"a module that the probes have no part in")
    assert keys == {key_of(REQUEST, types)}
    (types / "overlay").write_bytes(b"types of a module")
    keys.add(key_of(REQUEST, types))
    (types / "vmlinux").write_bytes(b"types of another kernel")
    keys.add(key_of(REQUEST, types))
    assert len(keys) == 3


def test_key_follows_the_sources(types: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sources = tmp_path / "sources"
    sources.mkdir()
    for path in cache_key._sources():
        (sources / path.name).write_bytes(path.read_bytes())
    before = key_of(REQUEST, types)
    monkeypatch.setattr(cache_key, "SOURCE_DIRECTORY", sources)
    assert key_of(REQUEST, types) == before
    for name in ("process.bpf.c", "emit.h", "headers.py"):
        path = sources / name
        path.write_text(path.read_text() + "\n")
        assert key_of(REQUEST, types) != before
        before = key_of(REQUEST, types)


@pytest.mark.parametrize(
    ("files", "version"),
    [
        ({"bcc/__init__.py": "raise SystemExit", "bcc/version.py": "__version__ = '0.31.0'\n"}, "0.31.0"),
        ({"bcc/__init__.py": "raise SystemExit", "bcc/version.py": "version = 3\n"}, "version = 3\n"),
        ({"bcc/__init__.py": "raise SystemExit"}, "/bcc/__init__.py"),
    ],
    ids=["known", "other form", "none"],
)
def test_version_of_bcc_without_importing_it(
    files: dict[str, str], version: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(__import__("sys").modules, "bcc", raising=False)
    assert compiler_version().endswith(version)


def test_no_bcc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(__import__("sys").modules, "bcc", raising=False)
    monkeypatch.setattr("sys.path", [str(tmp_path)])
    assert compiler_version() == ""
