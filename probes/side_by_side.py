"""Work that is done by children of this process, some of them at a time."""

from __future__ import annotations

import ctypes
import os
import select
import signal
import traceback
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import suppress
from typing import NamedTuple, NoReturn

SET_PARENT_DEATH_SIGNAL = 1  # prctl(2)
PIPE_BYTES = 1 << 16

_libc = ctypes.CDLL(None, use_errno=True)


class Ended(NamedTuple):
    number: int  # which work
    said: bytes  # what it returned; nothing if it failed
    status: int  # of the process; below 0: the signal that ended it


class _Child(NamedTuple):
    number: int
    pid: int
    said: bytearray


def side_by_side(works: Sequence[Callable[[], bytes]], at_once: int) -> Generator[Ended, None, None]:
    """Begins works in their order, `at_once` of them at a time, and tells of each as it ends.

    Each has a process of its own from the start and waits in it for its turn, so threads that this process
    starts later are in no fork. None outlives this process. Raises OSError.
    """
    waiting, turns = os.pipe()
    children: dict[int, _Child] = {}
    try:
        for number, work in enumerate(works):
            reading, writing = os.pipe()
            children[reading] = _Child(number, _fork(work, waiting, turns, writing), bytearray())
            os.close(writing)
        os.write(turns, bytes(at_once))
        for ended in _ends(children):
            os.write(turns, bytes(1))
            yield ended
    finally:
        for reading, child in children.items():
            os.close(reading)
            os.kill(child.pid, signal.SIGKILL)
            os.waitpid(child.pid, 0)
        os.close(waiting)
        os.close(turns)


def _ends(children: dict[int, _Child]) -> Iterator[Ended]:
    """Takes those that end out of `children`, until there are none."""
    poll = select.poll()
    for reading in children:
        poll.register(reading, select.POLLIN)
    while children:
        for reading, _ in poll.poll():
            child = children[reading]
            if part := os.read(reading, PIPE_BYTES):
                child.said.extend(part)
                continue
            poll.unregister(reading)
            os.close(reading)
            del children[reading]
            _, status = os.waitpid(child.pid, 0)
            yield Ended(child.number, bytes(child.said), os.waitstatus_to_exitcode(status))


def _fork(work: Callable[[], bytes], waiting: int, turns: int, writing: int) -> int:
    """The child's pid."""
    parent = os.getpid()
    if not (pid := os.fork()):
        os.close(turns)  # so that to wait for a turn ends with the parent
        _do(work, parent, waiting, writing)
    return pid


def _do(work: Callable[[], bytes], parent: int, waiting: int, writing: int) -> NoReturn:
    """In the child."""
    status = 1
    try:
        _libc.prctl(SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)
        if os.getppid() == parent and os.read(waiting, 1):
            said = work()
            with suppress(BrokenPipeError), open(writing, "wb") as pipe:
                pipe.write(said)
            status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        # Not by exit(): what is to be done at the parent's exit is the parent's.
        os._exit(status)
