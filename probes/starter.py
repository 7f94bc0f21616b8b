"""A small process that keeps the privileges that watching takes, and starts what has them when asked.

The collector forks it before it reads anything that a container wrote, and gives the privileges up at once.
So probes can be attached again later by a process that could not do so itself. It is asked over a
SOCK_SEQPACKET socket: START and the number of a command with two descriptors (the loader's channel, its
standard error), END for a loader that takes too long. It answers with the loader's exit status, and ends when
the other end is closed.
"""

from __future__ import annotations

import asyncio
import os
import select
import signal
import socket
import subprocess
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol, Self

START, END = b"start", b"end"
_STATUS_BYTES = 16


class Readable(Protocol):
    async def read(self, n: int = -1, /) -> bytes: ...


class Loader(Protocol):
    """A loader that was started; what asyncio.subprocess.Process has of it."""

    @property
    def stderr(self) -> Readable | None: ...

    @property
    def returncode(self) -> int | None: ...

    async def wait(self) -> int: ...

    def kill(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Command:
    """What the loader is started as; `fd_at` is where the number of its channel stands in `arguments`."""

    arguments: tuple[str, ...]
    environment: Mapping[str, str] = field(hash=False)

    def on(self, channel_fd: int) -> Sequence[str]:
        return [*self.arguments, str(channel_fd)]


async def start_child(command: Command, channel: socket.socket) -> Loader:
    """As a child of this process, with what this process may do."""
    return await asyncio.create_subprocess_exec(
        *command.on(channel.fileno()),
        pass_fds=[channel.fileno()],
        env=command.environment,
        stdin=DEVNULL,
        stdout=DEVNULL,
        stderr=PIPE,
    )


class Starter:
    """The collector's end. One loader at a time."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        channel.setblocking(False)

    @classmethod
    def fork(cls, command: Command, narrow: Callable[[], object], *others: Command) -> Self:
        """Forks. `narrow` is called in the new process, to give up what loading does not take.

        Nothing but `command` and `others` can be started through it.

        Only while this process has a single thread and no event loop. Raises OSError.
        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        if os.fork():
            theirs.close()
            return cls(ours)
        status = 1
        try:
            _leave_all_but(theirs.fileno())
            narrow()
            serve(theirs, (command, *others))
            status = 0
        finally:
            os._exit(status)

    async def start(self, channel: socket.socket, which: int = 0) -> Loader:
        """Starts the command of that number. Raises OSError when the process is gone."""
        reading, writing = os.pipe()
        try:
            socket.send_fds(self._channel, [START, bytes((which,))], [channel.fileno(), writing])
        except OSError:
            os.close(reading)
            raise
        finally:
            os.close(writing)
        loop = asyncio.get_running_loop()
        stderr = asyncio.StreamReader()
        pipe = os.fdopen(reading, "rb")
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(stderr), pipe)
        return _Started(self._channel, stderr)

    def close(self) -> None:
        """The process ends when it sees this."""
        self._channel.close()


class _Started:
    """A loader that is a child of the other process."""

    def __init__(self, channel: socket.socket, stderr: asyncio.StreamReader) -> None:
        self._channel = channel
        self.stderr: Readable | None = stderr
        self.returncode: int | None = None
        self._status = asyncio.get_running_loop().create_task(self._receive())

    async def wait(self) -> int:
        return await asyncio.shield(self._status)

    def kill(self) -> None:
        with suppress(OSError):
            self._channel.send(END)

    async def _receive(self) -> int:
        said = await asyncio.get_running_loop().sock_recv(self._channel, _STATUS_BYTES)
        self.returncode = int(said) if said else -signal.SIGKILL  # who starts it is gone, and it goes too
        return self.returncode


def serve(channel: socket.socket, commands: Sequence[Command]) -> None:
    """The work of the other process, until the channel is closed."""
    while True:
        message, descriptors, _, _ = socket.recv_fds(channel, len(START) + 1, 2)
        if not message:
            return
        if message == END:  # it came too late
            continue
        status = _run(channel, commands[message[len(START)]], *descriptors)
        with suppress(BrokenPipeError):
            channel.send(str(status).encode())


def _run(channel: socket.socket, command: Command, loaders_channel: int, stderr: int) -> int:
    """One loader, from its start to its end."""
    try:
        child = subprocess.Popen(
            command.on(loaders_channel),
            pass_fds=[loaders_channel],
            env=command.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
        )
    finally:
        os.close(loaders_channel)
        os.close(stderr)
    if _is_ended_by_other_end(channel, child.pid):
        child.kill()
    return child.wait()


def _is_ended_by_other_end(channel: socket.socket, pid: int) -> bool:
    """Waits for the child, or for END or the end of the channel; whether it was the latter."""
    ended = os.pidfd_open(pid)
    try:
        poll = select.poll()
        poll.register(ended, select.POLLIN)
        poll.register(channel, select.POLLIN)
        ready = {descriptor for descriptor, _ in poll.poll()}
        # END is taken off the channel by whoever reads next, which does nothing with it.
        return channel.fileno() in ready and ended not in ready
    finally:
        os.close(ended)


def _leave_all_but(kept: int) -> None:
    """Nothing of the collector's stays open here, and the signals that end the collector do not end this
    process before it: it ends when the collector has."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    nothing = os.open(os.devnull, os.O_RDWR)
    for standard in range(3):
        os.dup2(nothing, standard)
    os.closerange(3, kept)
    os.closerange(kept + 1, os.sysconf("SC_OPEN_MAX"))
