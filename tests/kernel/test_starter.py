"""probes.starter: loading for a process that may not load itself."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from probes.launch import Attached, ProbeError, launch, loader_command
from probes.starter import Command, Starter
from tests.kernel.sandbox import check, libc

ROOT = Path(__file__).resolve().parents[2]
RING_BYTES = 1 << 16
HANGS = Command(
    (sys.executable, "-c", "import signal, sys; print('x', file=sys.stderr); signal.pause()"), os.environ
)


@pytest.fixture
def forked() -> Iterator[Callable[..., Starter]]:
    """Makes starters, and sees them end with their channel."""
    made: list[Starter] = []
    before = children()

    def fork(command: Command | None = None) -> Starter:
        made.append(Starter.fork(command or loader_command(), lambda: None))
        return made[-1]

    yield fork
    for starter in made:
        starter.close()
    for pid in children() - before:
        assert os.waitpid(pid, 0) == (pid, 0)


def children() -> set[int]:
    return {int(pid) for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()}


def attach(starter: Starter, timeout_s: float = 60.0) -> Attached:
    return asyncio.run(launch(["cgroup"], ring_bytes=RING_BYTES, starter=starter, timeout_s=timeout_s))


def test_attaches_as_often_as_asked(forked: Callable[..., Starter]) -> None:
    starter = forked()
    for _ in range(2):
        probes = attach(starter)
        assert {hook.state for hook in probes.hooks} == {"attached"}
        probes.close()


def test_a_loader_that_hangs_is_ended_and_the_next_is_started(forked: Callable[..., Starter]) -> None:
    starter = forked(HANGS)
    for _ in range(2):
        with pytest.raises(ProbeError, match=r"not done after 0\.3 s"):
            attach(starter, timeout_s=0.3)


def test_what_a_loader_says_arrives(forked: Callable[..., Starter]) -> None:
    words = Command((sys.executable, "-c", "import os; os.write(2, b'last words'); os._exit(7)"), os.environ)
    with pytest.raises(ProbeError, match="ended with status 7, without an answer: last words"):
        attach(forked(words))


def test_a_starter_that_is_gone(forked: Callable[..., Starter]) -> None:
    before = children()
    starter = forked()
    (pid,) = children() - before
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    with pytest.raises(OSError, match="Broken pipe"):
        attach(starter)


def test_signals_that_end_the_collector_leave_it(forked: Callable[..., Starter]) -> None:
    before = children()
    starter = forked()
    (pid,) = children() - before
    attach(starter).close()  # so it has come to where signals are ignored
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(pid, number)
    attach(starter).close()


def test_holds_nothing_of_the_collectors(forked: Callable[..., Starter], tmp_path: Path) -> None:
    before = children()
    with (tmp_path / "open").open("w"):
        starter = forked()
    (pid,) = children() - before
    attach(starter).close()
    kept = {os.readlink(entry) for entry in Path(f"/proc/{pid}/fd").iterdir()}
    assert {name.partition(":")[0] for name in kept} == {"/dev/null", "socket"}


def test_a_process_without_capabilities_attaches_through_it() -> None:
    """The whole point; in a process of its own, as it can't get back what it gives up."""
    code = """
        import asyncio
        from collector.privilege import narrow
        from probes.launch import ProbeError, launch, loader_command
        from probes.starter import Starter

        starter = Starter.fork(loader_command(), lambda: None)
        narrow(())
        try:
            asyncio.run(launch(["cgroup"], ring_bytes=65536))
        except ProbeError as error:
            print("refused" if "EPERM" in str(error) else error)
        probes = asyncio.run(launch(["cgroup"], ring_bytes=65536, starter=starter))
        print(*(hook.state for hook in probes.hooks))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["refused", "attached", "attached"]


def test_ends_with_a_collector_that_is_killed(forked: Callable[..., Starter]) -> None:
    pr_set_child_subreaper = 36
    check(libc.prctl(pr_set_child_subreaper, 1, 0, 0, 0))
    code = (
        "import os, signal, sys; from probes.starter import Command, Starter;"
        "Starter.fork(Command((), {}), lambda: None); os.kill(os.getpid(), signal.SIGKILL)"
    )
    before = children()
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False)
    assert done.returncode == -signal.SIGKILL
    for pid in children() - before:
        assert os.waitpid(pid, 0) == (pid, 0)
    check(libc.prctl(pr_set_child_subreaper, 0, 0, 0, 0))
