"""The collector's side of the netlink witness: starts it, receives its reports."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress

from probes.launch import witness_command
from probes.netlink_exchange import MESSAGE_BYTES, Report, Watch, decode_report, encode
from probes.starter import Loader, Starter, start_child

# Of the commands of the starter: 0 is the loader of the probes.
NUMBER_FOR_STARTER = 1
STDERR_BYTES = 16 << 10
STDERR_SHOWN_CHARACTERS = 500
END_S = 2.0


class NetlinkWitness:
    """The running child. close() ends it."""

    def __init__(self, child: Loader, channel: socket.socket) -> None:
        self._child = child
        self._channel = channel

    async def receive(self) -> Report | None:
        """The next report; None: the child has ended."""
        content = await asyncio.get_running_loop().sock_recv(self._channel, MESSAGE_BYTES)
        return decode_report(content) if content else None

    def finish(self) -> None:
        """Asks for what it has not sent yet; then it ends."""
        with suppress(OSError):
            self._channel.shutdown(socket.SHUT_WR)

    async def last_words(self) -> str:
        """Of a child that has ended: its status, and the end of what it said."""
        try:
            async with asyncio.timeout(END_S):
                status, said = await self._end()
        except TimeoutError:
            return "it has closed its channel"
        lines = said.decode(errors="replace").strip()[-STDERR_SHOWN_CHARACTERS:]
        return f"status {status}: {lines or 'silent'}"

    async def close(self) -> None:
        """It ends when it sees the channel closed. May be called again."""
        self._channel.close()
        try:
            async with asyncio.timeout(END_S):
                await self._end()
        except TimeoutError:
            self._child.kill()

    async def _end(self) -> tuple[int, bytes]:
        """Its status, and the last that it said."""
        assert self._child.stderr is not None
        said = b""
        while part := await self._child.stderr.read(STDERR_BYTES):
            said = (said + part)[-STDERR_BYTES:]
        return await self._child.wait(), said


async def launch_witness(watch: Watch, starter: Starter | None) -> NetlinkWitness:
    """Raises OSError."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        ours.setblocking(False)
        with theirs:
            if starter:
                child = await starter.start(theirs, NUMBER_FOR_STARTER)
            else:
                child = await start_child(witness_command(), theirs)
        await asyncio.get_running_loop().sock_sendall(ours, encode(watch))
    except BaseException:
        ours.close()
        raise
    return NetlinkWitness(child, ours)
