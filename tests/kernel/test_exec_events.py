"""What an exec tells beside its arguments: script, terminal, credentials, leaders, ancestors, environment."""

from __future__ import annotations

import ctypes
import os
import pty
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.kernel.event_layout import LAYOUT, exec_parts
from tests.kernel.sandbox import Cgroup, execve, libc, run
from tests.kernel.test_session_events import clone_parent
from tests.kernel.witness import Witness

ENVIRONMENT_BYTES = LAYOUT.constants["PW_ENVIRONMENT_BYTES"]
KIB = 1024
SYS_EXECVEAT = 322 if os.uname().machine == "x86_64" else 281


def execs(witness: Witness, cgroup: Cgroup, work: Callable[[], int | None]) -> list[SimpleNamespace]:
    run(cgroup, work)
    return witness.events(cgroup.id, "EXEC")


def make_script(path: Path, interpreter: Path) -> Path:
    path.write_text(f"#!{interpreter} -x\n")
    path.chmod(0o755)
    return path


def test_script_and_its_interpreter(witness: Witness, cgroup: Cgroup, programs: Path, tmp_path: Path) -> None:
    script = make_script(tmp_path / "script", programs / "nothing")
    (event,) = execs(witness, cgroup, lambda: execve(str(script), [b"script", b"0"]))
    parts = exec_parts(event)
    assert event.flags == {"SCRIPT"}
    assert (parts.filename, parts.interpreter) == (os.fsencode(script), os.fsencode(programs / "nothing"))


def test_interpreter_that_is_a_script_itself(
    witness: Witness, cgroup: Cgroup, programs: Path, tmp_path: Path
) -> None:
    inner = make_script(tmp_path / "inner", programs / "nothing")
    outer = make_script(tmp_path / "outer", inner)
    (event,) = execs(witness, cgroup, lambda: execve(str(outer), [b"outer", b"0"]))
    parts = exec_parts(event)
    assert (parts.filename, parts.interpreter) == (os.fsencode(outer), os.fsencode(programs / "nothing"))
    assert os.fsencode(inner) in parts.argv
    assert parts.exe == os.fsencode(programs / "nothing")


def test_script_through_a_descriptor(
    witness: Witness, cgroup: Cgroup, programs: Path, tmp_path: Path
) -> None:
    script = make_script(tmp_path / "script", programs / "nothing")

    def work() -> None:
        descriptor = os.open(script, os.O_RDONLY)
        os.set_inheritable(descriptor, True)  # the interpreter opens it anew, by its number
        os.execve(descriptor, ["script", "0"], {})

    (event,) = execs(witness, cgroup, work)
    parts = exec_parts(event)
    assert event.flags == {"SCRIPT"}
    assert parts.filename.startswith(b"/dev/fd/")
    assert parts.interpreter == os.fsencode(programs / "nothing")


def test_controlling_terminal(witness: Witness, cgroup: Cgroup, programs: Path) -> None:
    def work() -> None:
        pid, _ = pty.fork()
        if pid == 0:
            execve(str(programs / "nothing"), [b"nothing", os.fsencode(os.ttyname(0)), b"0"])
        os.waitpid(pid, 0)

    (event,) = execs(witness, cgroup, work)
    number = int(exec_parts(event).argv[1].removeprefix(b"/dev/pts/"))
    assert (event.tty, event.tty_device >> 20, event.tty_device & 0xFFFFF) == (
        b"pts%d" % number,
        136,
        number,
    )
    assert event.session_leader_pid == event.group_leader_pid == event.pid
    assert event.session_leader_start_ns == event.group_leader_start_ns == event.start_ns


def test_no_terminal(witness: Witness, cgroup: Cgroup, programs: Path) -> None:
    def work() -> None:
        os.setsid()
        execve(str(programs / "nothing"), [b"nothing"])

    (event,) = execs(witness, cgroup, work)
    assert (event.tty_device, event.tty) == (0, b"")


def test_leaders_of_group_and_session(witness: Witness, cgroup: Cgroup, programs: Path) -> None:
    def work() -> None:
        os.setsid()
        pid = os.fork()
        if pid == 0:
            os.setpgid(0, 0)
            execve(str(programs / "nothing"), [b"nothing"])
        os.waitpid(pid, 0)

    pid, _ = run(cgroup, work)
    (event,) = witness.events(cgroup.id, "EXEC")
    (leader,) = [one for one in witness.events(cgroup.id, "EXIT") if one.pid == pid]
    assert (event.session_leader_pid, event.session_leader_start_ns) == (pid, leader.start_ns)
    assert (event.group_leader_pid, event.group_leader_start_ns) == (event.pid, event.start_ns)


def test_leader_that_is_gone_has_its_number_only(witness: Witness, cgroup: Cgroup, programs: Path) -> None:
    def work() -> None:
        ready, go = os.pipe()
        leader = os.fork()
        if leader == 0:
            os.setpgid(0, 0)
            if os.fork() == 0:
                os.close(go)
                os.read(ready, 1)  # until all others have closed it: the leader by its end
                execve(str(programs / "nothing"), [b"nothing"])
            os._exit(0)
        os.waitpid(leader, 0)

    _, _ = run(cgroup, work)
    witness.wait_for(lambda: bool(witness.events(cgroup.id, "EXEC")))
    (event,) = witness.events(cgroup.id, "EXEC")
    assert event.group_leader_pid not in (0, event.pid)
    assert event.group_leader_start_ns == 0


def test_credentials_that_a_setuid_program_put_away(witness: Witness, cgroup: Cgroup, programs: Path) -> None:
    program = Path(f"/var/tmp/podwitness-setuid-{os.getpid()}")
    shutil.copy(programs / "nothing", program)
    program.chmod(0o4755)

    def work() -> None:
        os.setgroups([])
        os.setresgid(1234, 1234, 1234)
        os.setresuid(4321, 4321, 4321)
        execve(str(program), [b"nothing"])

    try:
        (event,) = execs(witness, cgroup, work)
    finally:
        program.unlink()
    assert event.flags == {"CREDENTIALS_CHANGED"}
    assert (event.uid, event.euid, event.suid, event.egid) == (4321, 0, 0, 1234)
    assert (event.old_euid, event.old_egid, event.old_cap_effective) == (4321, 1234, 0)
    assert event.cap_effective == event.cap_permitted != 0
    assert event.mode & 0o7777 == 0o4755


def test_all_sets_of_ids_and_capabilities(witness: Witness, cgroup: Cgroup, programs: Path) -> None:
    def work() -> None:
        os.setresgid(11, 12, 13)
        os.setresuid(0, 0, 0)
        execve(str(programs / "nothing"), [b"nothing"])

    (event,) = execs(witness, cgroup, work)
    # An exec copies the effective ids to the saved ones.
    assert (event.gid, event.egid, event.sgid) == (11, 12, 12)
    lines = Path("/proc/self/status").read_text().split("\n")
    shown = {line.split(":")[0]: int(line.split()[1], 16) for line in lines if line.startswith("Cap")}
    assert (event.cap_permitted, event.cap_ambient) == (shown["CapPrm"], shown["CapAmb"])
    assert event.cap_inheritable == shown["CapInh"]


def test_all_namespaces(witness: Witness, cgroup: Cgroup, programs: Path) -> None:
    (event,) = execs(witness, cgroup, lambda: execve(str(programs / "nothing"), [b"nothing"]))
    for name in ("mnt", "pid", "net", "user", "uts", "ipc", "cgroup"):
        assert os.readlink(f"/proc/self/ns/{name}") == f"{name}:[{getattr(event, f'{name}_ns')}]"


def test_ancestors_are_those_of_the_forks(witness: Witness, cgroup: Cgroup, programs: Path) -> None:
    """Whose parents have ended meanwhile: the kernel's own pointers lead to init."""
    left, leave = os.pipe()

    def work() -> None:
        for _ in range(3):
            if pid := os.fork():
                os.waitpid(pid, 0)
                return
        if os.fork():
            os._exit(0)
        os.close(leave)
        os.read(left, 1)
        execve(str(programs / "nothing"), [b"nothing"])

    pid, _ = run(cgroup, work)
    os.close(leave)
    os.close(left)
    witness.wait_for(lambda: witness.counts(cgroup.id)["EXIT"] == 5)
    (event,) = witness.events(cgroup.id, "EXEC")
    ancestors = exec_parts(event).ancestors
    forks = witness.events(cgroup.id, "FORK")
    assert [one.pid for one in ancestors[:4]] == [*reversed([fork.pid for fork in forks[:3]]), pid]
    assert [one.start_ns for one in ancestors[:3]] == [fork.start_ns for fork in reversed(forks[:3])]
    assert event.parent_pid not in [one.pid for one in ancestors[:3]]


def test_no_more_ancestors_than_are_kept(witness: Witness, cgroup: Cgroup, programs: Path) -> None:
    def work() -> None:
        for _ in range(12):
            if pid := os.fork():
                os.waitpid(pid, 0)
                return
        execve(str(programs / "nothing"), [b"nothing"])

    (event,) = execs(witness, cgroup, work)
    forks = witness.events(cgroup.id, "FORK")
    kept = LAYOUT.constants["PW_ANCESTORS"]
    expected = [fork.pid for fork in reversed(forks[:-1])][:kept]
    assert [one.pid for one in exec_parts(event).ancestors] == expected


def test_peak_memory_of_a_process(witness: Witness, cgroup: Cgroup) -> None:
    def work() -> int:
        block = bytearray(64 << 20)
        block[::4096] = b"x" * len(block[::4096])
        return len(block) & 0

    pid = os.fork()
    if pid == 0:
        cgroup.enter()
        os._exit(work())
    _, _, used = os.wait4(pid, 0)
    (event,) = witness.events(cgroup.id, "EXIT")
    assert event.peak_memory_bytes == used.ru_maxrss * KIB
    assert event.peak_memory_bytes > 64 << 20


@pytest.mark.parametrize("longer", [0, 1])
def test_environment_is_read_only_where_it_is_wanted(cgroup: Cgroup, programs: Path, longer: int) -> None:
    last = b"LAST=1"
    fill = b"A=" + b"x" * (ENVIRONMENT_BYTES + longer - len(last) - 4)
    watching = Witness.attach(("process", "cgroup"), constants={"TELL_ENVIRONMENT": 1})
    try:
        watching.forget()
        run(cgroup, lambda: execve(str(programs / "nothing"), [b"nothing"], [fill, last]))
        (event,) = watching.events(cgroup.id, "EXEC")
    finally:
        watching.close()
    assert event.environment_total_bytes == ENVIRONMENT_BYTES + longer
    assert event.flags == ({"ENVIRONMENT_CUT"} if longer else set())
    assert exec_parts(event).environment == [fill[longer:], last]


def test_environment_stays_in_the_kernel_otherwise(witness: Witness, cgroup: Cgroup, programs: Path) -> None:
    (event,) = execs(witness, cgroup, lambda: execve(str(programs / "nothing"), [b"nothing"], [b"SECRET=1"]))
    assert (event.environment_bytes, event.environment_total_bytes) == (0, 0)
    assert b"SECRET" not in event.tail


def test_maker_of_a_process_is_told_though_another_is_its_parent(witness: Witness, cgroup: Cgroup) -> None:
    def work() -> None:
        if os.fork() == 0:
            clone_parent()
            os._exit(0)
        os.wait()
        os.wait()

    pid, _ = run(cgroup, work)
    witness.wait_for(lambda: witness.counts(cgroup.id)["EXIT"] == 3)
    first, second = witness.events(cgroup.id, "FORK")[-2:]
    assert (first.parent_pid, first.maker_pid) == (pid, pid)
    assert (second.parent_pid, second.maker_pid) == (pid, first.pid)


def test_execveat_below_a_folder(witness: Witness, cgroup: Cgroup, programs: Path) -> None:
    """The kernel makes a name of the descriptor and the path; the binary is told by where it is."""

    def work() -> None:
        folder = os.open(programs, os.O_RDONLY | os.O_DIRECTORY)
        arguments = (ctypes.c_char_p * 2)(b"harmless", None)
        libc.syscall(SYS_EXECVEAT, folder, b"nothing", arguments, None, 0)
        os._exit(1)  # it came back

    (event,) = execs(witness, cgroup, work)
    parts = exec_parts(event)
    assert parts.exe == os.fsencode(programs / "nothing")
    assert parts.argv == [b"harmless"]
    assert parts.filename.startswith(b"/dev/fd/")
    assert parts.filename.endswith(b"/nothing")
