"""probes.loader as a process of its own: what it leaves, and from where it can be started."""

from __future__ import annotations

import socket
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

import pytest

from probes.catalog import HOOKS, Dialect, RingSizes
from probes.compiler import header_directory
from probes.exchange import Answer, Request
from probes.headers import running_kernel
from probes.loader import reason_of, verifier_reason

ROOT = Path(__file__).resolve().parents[2]


def load(request: Request, directory: Path) -> tuple[Answer, str]:
    """The whole answer, and what the child wrote."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    answer = Answer()
    with ours, theirs:
        child = subprocess.Popen(
            [sys.executable, "-P", "-m", "probes.loader", str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            cwd=directory,
            env={"PYTHONPATH": str(ROOT), "TMPDIR": str(directory)},
            stderr=subprocess.PIPE,
            text=True,
        )
        theirs.close()
        ours.send(request.encode())
        while answer.receive(ours):
            pass
        _, said = child.communicate()
    return answer, said


def test_current_directory_plays_no_part_and_nothing_is_left(tmp_path: Path) -> None:
    """BCC adds the current directory to the include path: a file there must not be taken for a header."""
    for name in ("events.h", "linux/types.h", "probes.py"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("#error taken from the current directory\n")
    before = sorted(tmp_path.rglob("*"))
    answer, said = load(Request(("process",), RingSizes(65536, 65536)), tmp_path)
    assert {result.dialect for result in answer.results.values()} == {Dialect.TP_BTF}
    assert said == ""
    assert sorted(tmp_path.rglob("*")) == before
    answer.close()


def test_tracepoint_that_the_kernel_lacks_is_reported_with_its_version() -> None:
    (hook,) = (hook for hook in HOOKS if hook.tracepoint == "sock_send_length")
    reason = reason_of(hook, FileNotFoundError(2, "No such file or directory"))
    assert reason == "the kernel has no tracepoint sock_send_length (since Linux 6.3)"


REFUSED_DIALECT = """
    from probes.catalog import *
    from probes.compiler import *
    from probes.headers import running_kernel
    from probes.loader import *
    types, maps = running_kernel(), make_maps(SUBJECTS, RingSizes(65536, 65536))
    with header_directory(types, ()) as headers:
        no_tracepoint = {hook.tracepoint: 1 for hook in HOOKS}
        attacher = Attacher(Compiler(headers, maps), no_tracepoint)
        hooks = [hook for hook in HOOKS if hook.cgroup is None and not hook.is_walk]
        attacher.run(hooks, None)
    for hook in attacher.hooks:
        result = attacher.result(hook)
        print(result.dialect, len(result.reasons), result.reasons[0])
"""


def test_hook_that_one_dialect_is_refused_for_gets_the_other() -> None:
    """The kernel's own refusal, of programs for a type that is no tracepoint."""
    command = [sys.executable, "-c", textwrap.dedent(REFUSED_DIALECT)]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    lines = said.strip().split("\n")
    assert len(lines) == len(
        [hook for hook in HOOKS if hook.cgroup is None and not hook.is_walk and not hook.unless]
    )
    assert all(line.startswith("raw_tp 1 bpf(BPF_PROG_LOAD): ") for line in lines)


@pytest.mark.parametrize(
    ("log", "reason"),
    [
        ("0: (95) exit\nR0 !read_ok\nprocessed 1 insns (limit 1000000)\n", "R0 !read_ok"),
        ("", ""),
        ("verification time 3 usec\n", ""),
    ],
)
def test_reason_is_the_last_line_before_the_statistics(log: str, reason: str) -> None:
    assert verifier_reason(log) == reason


def test_temporary_directories_are_private() -> None:
    with header_directory(running_kernel(), ()) as directory:
        assert directory.stat().st_mode & 0o777 == 0o700
        assert str(directory).startswith(tempfile.gettempdir())
        assert (directory / "include/linux/kernel_types.h").stat().st_size > 5000
    assert not directory.exists()
