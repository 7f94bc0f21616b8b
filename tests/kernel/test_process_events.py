"""Known processes give exactly the records that they should."""

from __future__ import annotations

import faulthandler
import os
import shutil
import signal
import struct
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.kernel.event_layout import LAYOUT, exec_parts
from tests.kernel.sandbox import Cgroup, execve, mount, private_mounts, run
from tests.kernel.witness import Witness

ARGS_BYTES = LAYOUT.constants["PW_ARGS_BYTES"]


def only(events: list[SimpleNamespace]) -> SimpleNamespace:
    assert len(events) == 1, events
    return events[0]


def executed(
    witness: Witness, cgroup: Cgroup, work: Callable[[], int | None]
) -> tuple[SimpleNamespace, SimpleNamespace]:
    """The only exec of `work`, and its parts."""
    run(cgroup, work)
    event = only(witness.events(cgroup.id, "EXEC"))
    return event, exec_parts(event)


def test_forks_execs_and_exits_are_counted_exactly(witness: Witness, cgroup: Cgroup, programs: Path) -> None:
    def work() -> None:
        for number in range(31):
            pid = os.fork()
            if pid == 0:
                os.execv(programs / "nothing", ["nothing", str(number)])
            os.waitpid(pid, 0)
        for _ in range(13):
            pid = os.fork()
            if pid == 0:
                os._exit(0)
            os.waitpid(pid, 0)

    run(cgroup, work)
    assert witness.counts(cgroup.id) == {"FORK": 31 + 13, "EXEC": 31, "EXIT": 31 + 13 + 1}
    argvs = [exec_parts(event).argv for event in witness.events(cgroup.id, "EXEC")]
    assert argvs == [[b"nothing", str(number).encode()] for number in range(31)]


def test_order_of_one_process_is_fork_exec_exit(witness: Witness, cgroup: Cgroup, programs: Path) -> None:
    def work() -> None:
        pid = os.posix_spawn(programs / "nothing", ["nothing"], {})
        os.waitpid(pid, 0)

    pid, _ = run(cgroup, work)
    events = [event for event in witness.events(cgroup.id) if event.pid != pid]
    assert [event.kind for event in events] == ["FORK", "EXEC", "EXIT"]
    assert len({(event.pid, event.start_ns) for event in events}) == 1
    assert {event.parent_pid for event in events} == {pid}
    assert [event.time_ns for event in events] == sorted(event.time_ns for event in events)
    now_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    assert all(now_ns - 60 * 10**9 < event.start_ns <= event.time_ns < now_ns for event in events)


@pytest.mark.parametrize(
    ("argv", "seen"),
    [
        ([b"nothing", b"", b"", b"0"], [b"nothing", b"", b"", b"0"]),
        ([b""], [b""]),
        ([b"a\nb", b"\xff\xfe\x80", b"\xe2\x82", b"0"], [b"a\nb", b"\xff\xfe\x80", b"\xe2\x82", b"0"]),
        # An empty list: Linux puts an empty string there since 5.18.
        ([], [b""]),
    ],
    ids=["empty strings", "only an empty string", "newline and invalid UTF-8", "no list"],
)
def test_argv_is_what_was_passed(
    witness: Witness, cgroup: Cgroup, programs: Path, argv: list[bytes], seen: list[bytes]
) -> None:
    event, parts = executed(witness, cgroup, lambda: execve(str(programs / "nothing"), argv))
    assert parts.argv == seen
    assert event.argc == len(seen)
    assert event.args_total_bytes == event.args_bytes == sum(len(arg) + 1 for arg in seen)
    assert not event.flags


@pytest.mark.parametrize("total", [ARGS_BYTES - 1, ARGS_BYTES, ARGS_BYTES + 1])
def test_argv_is_cut_past_its_limit_only(
    witness: Witness, cgroup: Cgroup, programs: Path, total: int
) -> None:
    argv = [b"x" * (total - 3), b"0"]
    event, _ = executed(witness, cgroup, lambda: execve(str(programs / "nothing"), argv))
    whole = b"".join(arg + b"\0" for arg in argv)
    assert event.args_total_bytes == len(whole) == total
    assert event.tail[: event.args_bytes] == whole[:ARGS_BYTES]
    assert event.flags == ({"ARGS_CUT"} if total > ARGS_BYTES else set())


def test_argv_of_100_kib_tells_its_whole_length(witness: Witness, cgroup: Cgroup, programs: Path) -> None:
    argv = [b"%07d" % number for number in range(12799)] + [b"0"]
    event, _ = executed(witness, cgroup, lambda: execve(str(programs / "nothing"), argv))
    whole = b"".join(arg + b"\0" for arg in argv)
    assert event.argc == 12800
    assert event.args_total_bytes == len(whole) > 100_000
    assert event.tail[: event.args_bytes] == whole[:ARGS_BYTES]
    assert event.flags == {"ARGS_CUT"}


def test_executable_and_working_directory(witness: Witness, cgroup: Cgroup, programs: Path) -> None:
    def work() -> None:
        os.chdir(programs)
        execve("./nothing", [b"other name"])

    event, parts = executed(witness, cgroup, work)
    assert parts.exe == os.fsencode(programs / "nothing")
    assert parts.cwd == os.fsencode(programs)
    assert parts.filename == b"./nothing"
    assert event.comm == b"nothing"
    found = (programs / "nothing").stat()
    assert (event.inode, event.mode) == (found.st_ino, found.st_mode)
    assert (event.device >> 20, event.device & 0xFFFFF) == (os.major(found.st_dev), os.minor(found.st_dev))


def test_script_keeps_the_name_that_was_called(
    witness: Witness, cgroup: Cgroup, programs: Path, tmp_path: Path
) -> None:
    script = tmp_path / "script"
    script.write_text(f"#!{programs}/nothing -x\n")
    script.chmod(0o755)
    event, parts = executed(witness, cgroup, lambda: execve(str(script), [b"script", b"0"]))
    assert parts.filename == os.fsencode(script)
    assert parts.exe == os.fsencode(programs / "nothing")
    assert parts.argv == [os.fsencode(programs / "nothing"), b"-x", os.fsencode(script), b"0"]
    assert event.argc == 4


def work_below(folder: Path, programs: Path) -> Callable[[], None]:
    """To execute a program there, by a name without a folder."""
    folder.mkdir(parents=True)
    shutil.copy(programs / "nothing", folder / "nothing")

    def work() -> None:
        os.chdir(folder)
        execve("nothing", [b"nothing"])

    return work


def test_path_of_sixty_directories(witness: Witness, cgroup: Cgroup, programs: Path, tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*(f"directory-{number:02d}" for number in range(60)))
    event, parts = executed(witness, cgroup, work_below(deep, programs))
    assert parts.exe == os.fsencode(deep / "nothing")
    assert parts.cwd == os.fsencode(deep)
    assert not event.flags


@pytest.mark.parametrize(
    ("name", "depth"), [("d", 200), ("long-" * 40, 19)], ids=["many components", "long components"]
)
def test_path_past_the_limit_keeps_its_end_and_says_so(
    witness: Witness, cgroup: Cgroup, programs: Path, tmp_path: Path, name: str, depth: int
) -> None:
    deep = tmp_path.joinpath(*[name] * depth)
    event, parts = executed(witness, cgroup, work_below(deep, programs))
    assert event.flags == {"EXE_CUT", "CWD_CUT"}
    assert os.fsencode(deep / "nothing").endswith(parts.exe)
    assert os.fsencode(deep).endswith(parts.cwd)
    assert parts.exe.count(b"/") > min(depth, 90) - 5


def test_longest_argv_and_path_together(
    witness: Witness, cgroup: Cgroup, programs: Path, tmp_path: Path
) -> None:
    """Each part has all the bytes that it may have: none may run into another."""
    name = "n" * 255
    argv = [b"x" * (ARGS_BYTES - 3), b"0"]

    def work() -> None:
        os.chdir(tmp_path)
        for _ in range(18):
            os.mkdir(name)
            os.chdir(name)
        shutil.copy(programs / "nothing", name)
        execve(name, argv)

    event, parts = executed(witness, cgroup, work)
    assert parts.argv == argv
    assert event.exe_bytes == event.cwd_bytes == LAYOUT.constants["PW_PATH_BYTES"]
    assert parts.exe == parts.cwd == f"/{name}".encode() * 16
    assert parts.filename == name.encode()
    assert event.flags == {"EXE_CUT", "CWD_CUT"}


@pytest.mark.parametrize("longer", [0, 1])
def test_filename_is_cut_past_its_limit_only(
    witness: Witness, cgroup: Cgroup, programs: Path, tmp_path: Path, longer: int
) -> None:
    limit = LAYOUT.constants["PW_FILENAME_BYTES"]
    filename = str(programs / "nothing")
    filename = filename.replace("/nothing", "/" * (limit + longer - len(filename) + 1) + "nothing")
    assert len(filename) == limit + longer
    event, parts = executed(witness, cgroup, lambda: execve(filename, [b"nothing"]))
    assert parts.filename == filename.encode()[:limit]
    assert event.flags == ({"FILENAME_CUT"} if longer else set())


def test_paths_in_a_mount_namespace_are_as_seen_there(
    witness: Witness, cgroup: Cgroup, programs: Path, tmp_path: Path
) -> None:
    """As a container: another root by pivot_root, a mount in it; the host's path is not in it."""
    root = tmp_path / "root"
    (root / "mnt" / "old").mkdir(parents=True)
    inside = os.readlink("/proc/self/ns/mnt")

    def work() -> None:
        private_mounts()
        mount("tmpfs", str(root), "tmpfs")
        (root / "volume" / "bin").mkdir(parents=True)
        (root / "old").mkdir()
        mount("tmpfs", str(root / "volume"), "tmpfs")
        (root / "volume" / "bin").mkdir()
        shutil.copy(programs / "nothing", root / "volume" / "bin" / "nothing")
        os.chdir(root)
        from tests.kernel.sandbox import check, libc

        check(libc.syscall(155, b".", b"old"))  # pivot_root
        os.chdir("/volume/bin")
        execve("/volume/bin/nothing", [b"nothing"])

    event, parts = executed(witness, cgroup, work)
    assert parts.exe == b"/volume/bin/nothing"
    assert parts.cwd == b"/volume/bin"
    assert f"mnt:[{event.mnt_ns}]" != inside


def test_memfd(witness: Witness, cgroup: Cgroup, programs: Path) -> None:
    def work() -> None:
        memory = os.memfd_create("payload")
        os.write(memory, (programs / "nothing").read_bytes())
        os.execve(memory, ["harmless"], {})

    event, parts = executed(witness, cgroup, work)
    assert event.flags == {"MEMFD"}
    assert parts.exe == b"/memfd:payload"
    assert parts.argv == [b"harmless"]


def execute_deleted(program: Path) -> None:
    held = os.open(program, os.O_PATH)
    os.unlink(program)
    os.execve(held, ["gone"], {})


def test_deleted_binary(witness: Witness, cgroup: Cgroup, programs: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copy(programs / "nothing", tmp_path / "gone"))
    event, parts = executed(witness, cgroup, lambda: execute_deleted(copy))
    assert event.flags == {"DELETED"}
    assert parts.exe == os.fsencode(copy)


def test_deleted_binary_on_tmpfs_is_no_memfd(witness: Witness, cgroup: Cgroup, programs: Path) -> None:
    copy = Path(f"/dev/shm/podwitness-test-{os.getpid()}")
    shutil.copy(programs / "nothing", copy)
    event, _ = executed(witness, cgroup, lambda: execute_deleted(copy))
    assert event.flags == {"DELETED"}


@pytest.mark.parametrize("written", [True, False], ids=["written in the container", "of the image"])
def test_binary_in_the_upper_layer(
    witness: Witness, cgroup: Cgroup, programs: Path, tmp_path: Path, written: bool
) -> None:
    def work() -> None:
        private_mounts()
        mount("tmpfs", str(tmp_path), "tmpfs")
        for name in ("lower", "upper", "work", "merged"):
            (tmp_path / name).mkdir()
        shutil.copy(programs / "nothing", tmp_path / "lower" / "nothing")
        layers = f"lowerdir={tmp_path}/lower,upperdir={tmp_path}/upper,workdir={tmp_path}/work"
        mount("overlay", str(tmp_path / "merged"), "overlay", 0, layers)
        if written:
            shutil.copy(programs / "nothing", tmp_path / "merged" / "nothing")
        execve(str(tmp_path / "merged" / "nothing"), [b"nothing"])

    event, parts = executed(witness, cgroup, work)
    assert event.flags == ({"UPPER_LAYER"} if written else set())
    assert parts.exe == os.fsencode(tmp_path / "merged" / "nothing")


def test_exec_by_a_thread_keeps_the_process(witness: Witness, cgroup: Cgroup, programs: Path) -> None:
    nothing = str(programs / "nothing").encode()
    pid, status = run(cgroup, lambda: execve(str(programs / "threads"), [b"threads", b"exec", nothing]))
    first, second = witness.events(cgroup.id, "EXEC")
    assert exec_parts(second).argv == [nothing, b"by-a-thread", b"3"]
    assert (second.pid, second.tid, second.start_ns) == (pid, pid, first.start_ns)
    assert witness.counts(cgroup.id) == {"EXEC": 2, "EXIT": 1}
    assert only(witness.events(cgroup.id, "EXIT")).status == status == 3 << 8


def test_user_and_capabilities(witness: Witness, cgroup: Cgroup, programs: Path) -> None:
    programs.chmod(0o755)
    for directory in programs.parents[:3]:
        directory.chmod(0o755)

    def work() -> None:
        os.setgroups([])
        os.setresgid(1234, 1234, 1234)
        os.setresuid(4321, 4321, 4321)
        execve(str(programs / "nothing"), [b"nothing"])

    event, _ = executed(witness, cgroup, work)
    assert (event.uid, event.gid, event.euid, event.cap_effective) == (4321, 1234, 4321, 0)


def test_root_has_the_capabilities_that_proc_shows(witness: Witness, cgroup: Cgroup, programs: Path) -> None:
    (effective,) = (
        int(line.split()[1], 16)
        for line in Path("/proc/self/status").read_text().split("\n")
        if line.startswith("CapEff:")
    )
    event, _ = executed(witness, cgroup, lambda: execve(str(programs / "nothing"), [b"nothing"]))
    assert (event.uid, event.euid, event.cap_effective) == (0, 0, effective)


def test_login_user(witness: Witness, cgroup: Cgroup, programs: Path) -> None:
    def work() -> None:
        Path("/proc/self/loginuid").write_text("4711")
        execve(str(programs / "nothing"), [b"nothing"])

    event, _ = executed(witness, cgroup, work)
    assert event.loginuid == 4711
    witness.forget()
    event, _ = executed(witness, cgroup, lambda: execve(str(programs / "nothing"), [b"nothing"]))
    assert event.loginuid == int(Path("/proc/self/loginuid").read_text())


def test_namespaces_are_those_that_proc_shows(witness: Witness, cgroup: Cgroup, programs: Path) -> None:
    event, _ = executed(witness, cgroup, lambda: execve(str(programs / "nothing"), [b"nothing"]))
    for name in ("mnt", "pid", "net", "user"):
        assert os.readlink(f"/proc/self/ns/{name}") == f"{name}:[{getattr(event, f'{name}_ns')}]"
    assert event.namespace_pid == event.pid


def test_pid_in_its_namespace(witness: Witness, cgroup: Cgroup, programs: Path) -> None:
    def work() -> None:
        from tests.kernel.sandbox import CLONE_NEWPID, unshare

        unshare(CLONE_NEWPID)
        pid = os.fork()
        if pid == 0:
            execve(str(programs / "nothing"), [b"nothing"])
        os.waitpid(pid, 0)

    event, _ = executed(witness, cgroup, work)
    assert event.namespace_pid == 1
    assert os.readlink("/proc/self/ns/pid") != f"pid:[{event.pid_ns}]"
    fork = only(witness.events(cgroup.id, "FORK"))
    assert (fork.pid, fork.namespace_pid, fork.pid_ns) == (event.pid, 1, event.pid_ns)


def test_parent_is_the_process_though_a_thread_forked(
    witness: Witness, cgroup: Cgroup, programs: Path
) -> None:
    def work() -> None:
        import threading

        def fork() -> None:
            pid = os.fork()
            if pid == 0:
                execve(str(programs / "nothing"), [b"nothing"])
            os.waitpid(pid, 0)

        thread = threading.Thread(target=fork)
        thread.start()
        thread.join()

    pid, _ = run(cgroup, work)
    own = only([event for event in witness.events(cgroup.id, "EXIT") if event.pid == pid])
    for kind in ("FORK", "EXEC"):
        event = only(witness.events(cgroup.id, kind))
        assert (event.parent_pid, event.parent_start_ns) == (pid, own.start_ns)
    assert witness.counts(cgroup.id) == {"FORK": 1, "EXEC": 1, "EXIT": 2}


@pytest.mark.parametrize("code", [0, 1, 7, 255])
def test_exit_code(witness: Witness, cgroup: Cgroup, code: int) -> None:
    _, status = run(cgroup, lambda: code)
    assert only(witness.events(cgroup.id, "EXIT")).status == status == code << 8


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV])
def test_exit_by_signal(witness: Witness, cgroup: Cgroup, number: signal.Signals) -> None:
    def work() -> None:
        faulthandler.disable()
        os.kill(os.getpid(), number)
        signal.pause()

    _, status = run(cgroup, work)
    assert only(witness.events(cgroup.id, "EXIT")).status == status
    assert status & 0x7F == number


# Which thread's code counts when the leader has ended before: its own until 5.16, the last one's since.
@pytest.mark.parametrize(
    ("scenario", "codes"), [("leader-first", {7, 9}), ("group", {11}), ("burst", {0})], ids=str
)
def test_exit_of_a_group_is_one_and_has_the_status_of_wait(
    witness: Witness, cgroup: Cgroup, programs: Path, scenario: str, codes: set[int]
) -> None:
    argv = [b"threads", scenario.encode(), b"17"]
    pid, status = run(cgroup, lambda: execve(str(programs / "threads"), argv))
    event = only(witness.events(cgroup.id, "EXIT"))
    assert event.status == status
    assert status >> 8 in codes
    assert (event.pid, event.tid, event.comm) == (pid, pid, b"threads")
    assert event.namespace_pid == pid  # of the process, not of the thread that ended last
    assert event.mnt_ns
    assert event.uid == 0


def test_exit_in_a_pid_namespace_whose_last_thread_is_another(
    witness: Witness, cgroup: Cgroup, programs: Path
) -> None:
    def work() -> int:
        from tests.kernel.sandbox import CLONE_NEWPID, unshare

        unshare(CLONE_NEWPID)
        pid = os.fork()
        if pid == 0:
            execve(str(programs / "threads"), [b"threads", b"leader-first"])
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    pid, _ = run(cgroup, work)
    (event,) = [event for event in witness.events(cgroup.id, "EXIT") if event.pid != pid]
    assert (event.tid, event.namespace_pid) == (event.pid, 1)


def test_exec_by_a_child_of_a_thread_has_the_numbers_of_its_process(
    witness: Witness, cgroup: Cgroup, programs: Path
) -> None:
    nothing = str(programs / "nothing").encode()
    pid, _ = run(cgroup, lambda: execve(str(programs / "threads"), [b"threads", b"exec", nothing]))
    for event in witness.events(cgroup.id, "EXEC", "EXIT"):
        assert (event.pid, event.namespace_pid) == (pid, pid)


def test_duration_and_cpu_time_of_the_whole_group(witness: Witness, cgroup: Cgroup, programs: Path) -> None:
    before_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    pid = os.fork()
    if pid == 0:
        cgroup.enter()
        execve(str(programs / "burn"), [b"burn", b"60", b"6"])
    _, _, used = os.wait4(pid, 0)
    took_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME) - before_ns
    event = only(witness.events(cgroup.id, "EXIT"))
    total_s = (event.user_ns_total + event.system_ns_total) / 1e9
    # The kernel adds what ran since the last tick only after the tracepoint: at most one tick a thread.
    assert total_s == pytest.approx(used.ru_utime + used.ru_stime, abs=0.011 * 8)
    assert event.user_ns_total / 1e9 == pytest.approx(used.ru_utime, abs=0.011 * 8)
    assert total_s > 0.3
    assert 0 < event.duration_ns <= took_ns
    assert event.duration_ns == event.time_ns - event.start_ns


def test_nothing_of_other_memory_is_in_a_record(witness: Witness, cgroup: Cgroup, programs: Path) -> None:
    """Names are padded with zeroes: what a longer name left in the ring must not come out."""
    run(cgroup, lambda: execve(str(programs / "nothing"), [b"n"]))
    event = only(witness.events(cgroup.id, "EXEC"))
    raw = struct.pack("16s", b"nothing")
    assert event.comm == raw.rstrip(b"\0")
