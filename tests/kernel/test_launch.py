"""probes.launch: what it gives, what it leaves behind, and what it says when it can't."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import textwrap
from importlib.util import find_spec
from pathlib import Path

import pytest

from probes import bpf
from probes.catalog import HOOKS, KINDS, SUBJECTS, Dialect, RecordKind, hooks_of
from probes.exchange import NO_TRACEPOINT, HookResult
from probes.launch import MAPS_FOR_THE_COLLECTOR, Attached, ProbeError, hook_report, launch
from tests.kernel.hooks_here import hooks_here
from tests.kernel.sandbox import Cgroup, check, execve, libc, mount, private_mounts, run
from tests.kernel.test_bpf import program_id
from tests.kernel.witness import KEPT_PROBES, Witness
from tests.polling import until

ROOT = Path(__file__).resolve().parents[2]
RING_BYTES = 1 << 16
OF_TRACEPOINTS = tuple(subject for subject in SUBJECTS if subject != "flow")


def attach(*subjects: str, **options: object) -> Attached:
    wanted = {"ring_bytes": RING_BYTES, "cache": KEPT_PROBES.name, **options}
    return asyncio.run(launch(subjects or OF_TRACEPOINTS, **wanted))  # type: ignore[arg-type]


def own_descriptors() -> set[str]:
    return set(os.listdir("/proc/self/fd"))


def until_gone(programs: set[int]) -> None:
    """The kernel frees a program some time after its last descriptor."""
    until(lambda: not programs & set(bpf.program_ids()))


@pytest.mark.parametrize("dialect", [None, *Dialect], ids=str)
def test_all_hooks_are_attached(dialect: Dialect | None) -> None:
    probes = attach(dialect=dialect)
    assert [report.hook for report in probes.hooks] == hooks_here(*OF_TRACEPOINTS)
    assert {report.state for report in probes.hooks} == {"attached"}
    walks = {hook.tracepoint for hook in HOOKS if hook.is_walk}  # there is no other dialect of these
    found = {report.dialect for report in probes.hooks if report.hook not in walks}
    assert found == {dialect or Dialect.TP_BTF}
    assert set(probes.walks) == {
        hook.tracepoint for hook in hooks_of(OF_TRACEPOINTS) if hook.walks and hook.kinds
    }
    assert {report.reason + report.consequence for report in probes.hooks} == {""}
    assert set(probes.links) == set(probes.programs) == set(hooks_here(*OF_TRACEPOINTS))
    assert set(probes.missed()) == set(probes.programs)
    assert len(probes.lost()) == KINDS
    probes.close()


@pytest.mark.parametrize("subject", SUBJECTS)
def test_each_subject_needs_no_other(subject: str) -> None:
    """As the collector has them: with the cgroups, and what was there before."""
    probes = attach(subject, "state", "cgroup")
    assert {(report.hook, report.reason) for report in probes.hooks if report.state != "attached"} == set()
    probes.close()


def test_only_the_wanted_subjects_are_attached() -> None:
    probes = attach("cgroup")
    assert set(probes.links) == {hook.tracepoint for hook in hooks_of(["cgroup"])}
    assert set(probes.maps) == {"cgroup_scratch", "homes", "processes"}
    probes.close()


def test_close_leaves_no_descriptor_and_no_program() -> None:
    before = own_descriptors()
    probes = attach()
    programs = {program_id(descriptor) for descriptor in probes.programs.values()}
    assert programs <= set(bpf.program_ids())
    probes.close()
    probes.close()
    assert own_descriptors() == before
    until_gone(programs)


def test_descriptors_are_not_inherited() -> None:
    probes = attach("cgroup")
    ours = [getattr(probes, f"{name}_fd") for name in MAPS_FOR_THE_COLLECTOR]
    held = [*ours, *probes.links.values(), *probes.programs.values()]
    assert [os.get_inheritable(descriptor) for descriptor in held] == [False] * len(held)
    probes.close()


def test_compiler_is_found_where_a_pth_file_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As an egg is, whose folder is the path's last part; only the path of this process tells of it."""
    found = find_spec("bcc")
    assert found
    assert found.origin
    egg = tmp_path / "dist-packages" / "bcc-0.1-py3.egg"
    egg.mkdir(parents=True)
    (egg / "bcc").symlink_to(Path(found.origin).parent)
    without = [path for path in sys.path if not Path(path, "bcc").exists()]
    monkeypatch.setattr(sys, "path", [*without, str(egg)])
    attach("cgroup", cache="").close()


HOLDER = """
    import asyncio, os, signal, sys
    from probes.catalog import SUBJECTS
    from probes.launch import launch
    probes = asyncio.run(launch(SUBJECTS, ring_bytes=65536))
    for descriptor in probes.programs.values():
        with open(f"/proc/self/fdinfo/{descriptor}") as info:
            print(*(line.split()[1] for line in info if line.startswith("prog_id:")), flush=True)
    print("bcc" in sys.modules, flush=True)
    signal.pause()
"""


def test_killed_holder_leaves_no_program() -> None:
    command = [sys.executable, "-c", textwrap.dedent(HOLDER)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout
        programs = {int(holder.stdout.readline()) for _ in hooks_here(*SUBJECTS)}
        assert holder.stdout.readline() == "False\n"
        assert programs <= set(bpf.program_ids())
        holder.send_signal(signal.SIGKILL)
    until_gone(programs)


def test_loop_goes_on_meanwhile() -> None:
    async def watch() -> tuple[Attached, int]:
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                await asyncio.sleep(0.01)
                ticks += 1

        ticking = asyncio.create_task(tick())
        probes = await launch(["process"], ring_bytes=RING_BYTES)
        ticking.cancel()
        return probes, ticks

    probes, ticks = asyncio.run(watch())
    probes.close()
    assert ticks > 5


CASTS, TURNS = "FUNCTION_bpf_rdonly_cast", "FUNCTION_bpf_iter_num_new"  # since 6.2, used from 6.8 on
# Of all programs; they take about a microsecond each. LLVM 14 makes code with 200,000, LLVM 19 with 245,000;
# without TURNS and CASTS it is 400,000 and 575,000, of which 100,000 and 170,000 are of io_uring_submit_req,
# which kernels before 6.4 do not have.
VERIFIED_INSTRUCTIONS = 260_000
VERIFIED_WITH_LESS = 600_000
VERIFIED_OF_A_PROGRAM = 250_000  # the kernel takes a million of each


def verified_instructions(probes: Attached) -> dict[str, int]:
    facts = {
        name: Path(f"/proc/self/fdinfo/{program}").read_text() for name, program in probes.programs.items()
    }
    return {name: int(re.findall(r"verified_insns:\t(\d+)", fact)[0]) for name, fact in facts.items()}


@pytest.mark.parametrize(
    ("without", "most"),
    [
        ((), VERIFIED_INSTRUCTIONS),
        ((TURNS,), VERIFIED_WITH_LESS),
        ((CASTS,), VERIFIED_WITH_LESS),
        ((CASTS, TURNS), VERIFIED_WITH_LESS),
    ],
)
def test_the_verifier_has_little_work(without: tuple[str, ...], most: int) -> None:
    """All of it is done at each start, from the cache too; and none falls back to raw_tp."""
    probes = attach(*SUBJECTS, without=without)
    verified = verified_instructions(probes)
    assert {report.dialect for report in probes.hooks if report.subject != "flow"} == {Dialect.TP_BTF}
    assert {report.reason for report in probes.hooks} == {""}
    assert sum(verified.values()) < most, verified
    assert max(verified.values()) < VERIFIED_OF_A_PROGRAM, verified
    probes.close()


@pytest.mark.parametrize(
    ("release", "state"), [("6.1.0-18-amd64", "absent"), ("6.10.3", "failed"), ("custom", "absent")]
)
def test_what_an_old_kernel_lacks_without_loss_is_no_failure(release: str, state: str) -> None:
    (late,) = (hook for hook in HOOKS if hook.tracepoint == "sched_prepare_exec")
    (needed,) = (hook for hook in HOOKS if hook.tracepoint == "cgroup_skb_egress")
    missing = HookResult("any", None, ("the kernel has no tracepoint",))
    assert hook_report(late, missing, release).state == state
    assert not hook_report(late, missing, release).is_attached
    assert hook_report(needed, missing, "5.8.0").state == "failed"


def test_a_kernel_that_is_built_without_io_uring_is_well() -> None:
    (hook,) = (hook for hook in HOOKS if hook.tracepoint == "io_uring_submit_req")
    reasons = {f"{NO_TRACEPOINT} io_uring_submit_req (since Linux 6.4)": "absent", "bpf(2): EPERM": "failed"}
    for reason, state in reasons.items():
        assert hook_report(hook, HookResult("any", None, (reason,)), "6.10.3").state == state


def test_subject_that_does_not_compile_leaves_the_others() -> None:
    """As on a kernel whose `struct linux_binprm` has another member for it."""
    probes = attach(without=("HAVE_sock_cgroup_data__cgroup",))
    states = {report.hook: report.state for report in probes.hooks}
    of_sockets = set(hooks_here("network", "state"))
    assert {name for name, state in states.items() if state == "failed"} == of_sockets
    (failed,) = (report for report in probes.hooks if report.hook == "inet_sock_set_state")
    assert "error: no member named 'val'" in failed.reason
    assert failed.consequence == "No TCP connection is seen."
    assert RecordKind.TCP_CLOSE in failed.kinds
    probes.close()


def test_exec_on_a_kernel_that_lacks_what_is_optional(cgroup: Cgroup, programs: Path) -> None:
    """No audit, capabilities in two halves, overlayfs a module that is not loaded, no bpf_rdonly_cast, and a
    struct cred whose members are anywhere."""
    absent = (
        "HAVE_task_struct__loginuid",
        "HAVE_kernel_cap_t__val",
        "HAVE_ovl_inode____upperdentry",
        "FUNCTION_bpf_rdonly_cast",
        "OFF_cred__cap_ambient",
    )
    witness = Witness.attach(["process"], without=absent)
    whole = Witness.attach(["process"])
    run(cgroup, lambda: execve(str(programs / "nothing"), [b"nothing"]))
    (event,), (other,) = (found.events(cgroup.id, "EXEC") for found in (witness, whole))
    assert event.loginuid == 0xFFFFFFFF
    assert (event.uid, event.gid, event.euid, event.egid) == (other.uid, other.gid, other.euid, other.egid)
    assert event.cap_permitted == other.cap_permitted > 0
    assert event.cap_effective == other.cap_effective > 0
    assert (event.pid, event.start_ns, event.tail) == (other.pid, other.start_ns, other.tail)
    witness.close()
    whole.close()


def test_exit_is_one_on_a_kernel_that_does_not_say_which_thread_was_last(
    cgroup: Cgroup, programs: Path
) -> None:
    """Before 6.16 the tracepoint has one argument, and threads that end at once all look like the last."""
    witness = Witness.attach(["process"], without=("ARGUMENTS_sched_process_exit",))

    def work() -> None:
        for _ in range(53):
            pid = os.fork()
            if pid == 0:
                os.execv(programs / "threads", ["threads", "burst", "5"])
            os.waitpid(pid, 0)

    run(cgroup, work)
    counts = witness.counts(cgroup.id)
    assert {kind: counts[kind] for kind in ("FORK", "EXEC", "EXIT")} == {"FORK": 53, "EXEC": 53, "EXIT": 54}
    witness.close()


@pytest.mark.parametrize(
    ("subjects", "ring_bytes", "problem"),
    [
        (["process", "proces"], 65536, "There are no probes for proces."),
        ([], 65536, "There are no probes for nothing."),
        (["process"], 65537, "A ring of 65537 bytes can't be made."),
        (["process"], 1024, "A ring of 1024 bytes can't be made."),
    ],
)
def test_arguments_are_checked_before_anything_starts(
    subjects: list[str], ring_bytes: int, problem: str
) -> None:
    with pytest.raises(ProbeError) as refused:
        asyncio.run(launch(subjects, ring_bytes=ring_bytes))
    assert refused.value.problem == problem
    assert refused.value.remedy


def fake_bcc(directory: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (directory / "bcc.py").write_text(text)
    monkeypatch.setenv("PYTHONPATH", str(directory))


def refusal(**options: float) -> ProbeError:
    before = own_descriptors()
    with pytest.raises(ProbeError) as refused:
        attach("process", **options)
    assert own_descriptors() == before
    assert subprocess.run(["pgrep", "-f", f"-P{os.getpid()}", "probes.loader"]).returncode == 1
    return refused.value


def test_missing_bcc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_bcc(tmp_path, "raise ImportError('libbcc.so.0: cannot open shared object file')", monkeypatch)
    error = refusal()
    assert error.problem.startswith(f"BCC can't be imported by {sys.executable}: libbcc.so.0")
    assert "python3-bpfcc" in error.remedy


def test_child_that_dies_is_quoted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_bcc(tmp_path, "import os; os.write(2, b'last words'); os.abort()", monkeypatch)
    assert "ended with status -6, without an answer: last words" in refusal().problem


def test_child_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_bcc(tmp_path, "import signal; signal.pause()", monkeypatch)
    assert refusal(timeout_s=0.5).problem == "The loader of the probes was not done after 0.5 s."


def test_cancelled_launch_ends_its_child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_bcc(tmp_path, "import signal; signal.pause()", monkeypatch)

    async def cancel() -> None:
        task = asyncio.create_task(launch(["process"], ring_bytes=RING_BYTES))
        await asyncio.sleep(0.3)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    before = own_descriptors()
    asyncio.run(cancel())
    assert own_descriptors() == before


def problem_in_a_fork(cgroup: Cgroup, prepare: object) -> str:
    """What launch() says in a process that first calls `prepare`."""
    read_end, write_end = os.pipe()

    def work() -> None:
        prepare()  # type: ignore[operator]
        try:
            attach("process")
        except ProbeError as error:
            os.write(write_end, str(error).encode())

    run(cgroup, work)
    os.close(write_end)
    with os.fdopen(read_end) as said:
        return said.read()


def test_no_description_of_types(cgroup: Cgroup) -> None:
    def hide_btf() -> None:
        private_mounts()
        mount("tmpfs", "/sys/kernel/btf", "tmpfs")

    said = problem_in_a_fork(cgroup, hide_btf)
    assert "/sys/kernel/btf/vmlinux is missing" in said
    assert "CONFIG_DEBUG_INFO_BTF" in said


def test_no_permission(cgroup: Cgroup) -> None:
    prctl_capbset_drop, sys_admin, perfmon, bpf_capability = 24, 21, 38, 39

    def drop() -> None:
        for capability in (sys_admin, perfmon, bpf_capability):
            check(libc.prctl(prctl_capbset_drop, capability, 0, 0, 0))

    said = problem_in_a_fork(cgroup, drop)
    assert "EPERM" in said
    assert "Run privileged" in said


MS_RDONLY, MS_REMOUNT, MS_BIND = 1, 32, 4096


def test_read_only_root_needs_no_tmp(cgroup: Cgroup) -> None:
    """As in a container with readOnlyRootFilesystem: headers go to /dev/shm."""

    def seal() -> None:
        private_mounts()
        for directory in ("/tmp", "/var/tmp", "/usr/tmp"):
            if os.path.isdir(directory):
                # The same files, read-only: the tree under test may be one of them.
                mount(directory, directory, "", MS_BIND)
                mount("none", directory, "", MS_BIND | MS_REMOUNT | MS_RDONLY)
        os.environ.pop("TMPDIR", None)
        attach("process").close()
        assert not list(Path("/dev/shm").glob("podwitness-headers-*"))
        raise SystemExit(0)

    _, status = run(cgroup, lambda: problem_of(seal))
    assert status == 0


def problem_of(work: object) -> int:
    try:
        work()  # type: ignore[operator]
    except SystemExit as end:
        return int(end.code or 0)
    return 1
