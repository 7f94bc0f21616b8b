"""collector.cri.client: calls over a real socket, with grpc's own server and with servers that are none."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from collector.cri import client as subject
from collector.cri.client import Client, NotARuntime
from collector.cri.grpc import Refused
from collector.cri.http2 import MAX_IDLE_FRAMES, WINDOW_BYTES, Kind, ProtocolError, frame
from collector.cri.messages import RUNTIME, VERSION_REQUEST
from tests import cri_runtime
from tests.containers import protobuf as pb
from tests.cri_runtime import CriRuntime

Fields = list[tuple[int, int | bytes]]
LIST = RUNTIME + "ListContainers"


@pytest.fixture
def path() -> Iterator[Path]:
    """A UNIX socket's path has 107 bytes; pytest's own directories are too deep."""
    with tempfile.TemporaryDirectory(prefix="pw-", dir="/tmp") as folder:
        yield Path(folder, "runtime.sock")


def asked(path: Path, *methods: str) -> list[Fields]:
    async def scenario() -> list[Fields]:
        answers = []
        async with await Client.connect(str(path)) as client:
            for method in methods:
                found: Fields = []
                await client.call(method, VERSION_REQUEST, lambda *field: found.append(field))  # noqa: B023
                answers.append(found)
        return answers

    return asyncio.run(scenario())


def test_calls_one_after_the_other(path: Path) -> None:
    with CriRuntime(path) as runtime:
        version, sandboxes, containers = asked(path, RUNTIME + "Version", RUNTIME + "ListPodSandbox", LIST)
        assert [value for _, value in version] == [b"0.1.0", b"containerd", b"1.7.24", b"v1"]
        assert sandboxes == [(1, one) for one in runtime.sandboxes]
        assert containers == [(1, one) for one in runtime.containers]
        assert runtime.calls == ["Version", "ListPodSandbox", "ListContainers"]


def test_an_answer_of_several_windows(path: Path) -> None:
    """The server goes on only when it is given room, for the stream and for the connection."""
    with CriRuntime(path) as runtime:
        runtime.containers = [pb.text(1, str(one)) + pb.message(9, bytes(100_000)) for one in range(30)]
        assert sum(map(len, runtime.containers)) > 10 * WINDOW_BYTES
        (first, second) = asked(path, LIST, LIST)
        assert first == second == [(1, one) for one in runtime.containers]


def test_a_method_that_is_not_there(path: Path) -> None:
    with CriRuntime(path), pytest.raises(Refused, match="unimplemented") as refused:
        asked(path, RUNTIME + "GetContainerEvents")
    assert refused.value.code == 12


def test_a_stream_of_events(path: Path) -> None:
    async def scenario(runtime: CriRuntime) -> list[bytes]:
        found: list[bytes] = []
        for one in (b"one", b"", b"three", None):
            runtime.events.put(one)
        async with await Client.connect(str(path)) as client:
            await client.stream(RUNTIME + "GetContainerEvents", b"", found.append)
        return found

    with CriRuntime(path, has_events=True) as runtime:
        assert asyncio.run(scenario(runtime)) == [b"one", b"", b"three"]


def served(path: Path, answer: Callable[[socket.socket], None]) -> threading.Thread:
    """A server for one connection, which may do as it likes."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()

    def serve() -> None:
        quiet = contextlib.suppress(BrokenPipeError, ConnectionResetError)
        with quiet, listener, listener.accept()[0] as peer:
            answer(peer)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    return thread


def sending(first: bytes, again: bytes) -> Callable[[socket.socket], None]:
    """`again` without end; the end if it is empty."""

    def answer(peer: socket.socket) -> None:
        peer.recv(100_000)
        peer.sendall(first)
        while again:
            peer.sendall(again)

    return answer


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (sending(b"", b""), "closed the connection"),
        (sending(b"HTTP/1.1 400 Bad Request\r\n\r\n", b""), "not HTTP/2"),
        (sending(b"", os.urandom(1) + b"\xff" * 65536), "not HTTP/2"),
        (sending(b"", bytes(65536)), f"{MAX_IDLE_FRAMES} frames without content"),
        (sending(b"", frame(Kind.PING, 0, 0, bytes(8)) * 100), "without content"),
        (sending(b"", frame(Kind.DATA, 0, 1, cri_runtime.grpc_message(b"")) * 100), "a second answer"),
        (
            sending(frame(Kind.DATA, 0, 1, b"\0\0\xff\xff\xff"), frame(Kind.DATA, 0, 1, b"\x0a\0" * 8000)),
            "more than 50000 elements",
        ),
        (
            sending(b"", frame(Kind.DATA, 0, 1, b"\0\xff\xff\xff\xff" + bytes(100))),
            "an answer of 4294967295 bytes",
        ),
    ],
)
def test_a_hostile_server(path: Path, answer: Callable[[socket.socket], None], reason: str) -> None:
    thread = served(path, answer)
    with pytest.raises((ProtocolError, ConnectionResetError), match=rf"{reason}|reset by peer"):
        asked(path, LIST)
    thread.join(10)
    assert not thread.is_alive()


def silent(peer: socket.socket) -> None:
    while peer.recv(100_000):
        pass


def test_a_server_that_says_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subject, "CALL_S", 0.2)
    thread = served(path, silent)
    with pytest.raises(TimeoutError):
        asked(path, LIST)
    thread.join(10)


def test_a_server_of_another_user(path: Path) -> None:
    """A container that came to own the path, say: its words would be believed by all records."""
    listener = socket.socket(socket.AF_UNIX)
    os.chmod(path.parent, 0o777)
    child = os.fork()
    if not child:
        os.setuid(65534)
        listener.bind(str(path))
        listener.listen()
        os.write(1, b"")
        os.kill(os.getpid(), 19)  # SIGSTOP: it listens
        os._exit(0)
    try:
        os.waitpid(child, os.WUNTRACED)
        with pytest.raises(NotARuntime, match="served by user 65534"):
            asked(path, LIST)
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)
        listener.close()


def test_no_socket(path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        asked(path, LIST)
