"""Lookups: addresses need none, names share one, and one that hangs holds nobody."""

from __future__ import annotations

import asyncio
import socket
import threading

import pytest

from collector.outputs.resolver import Endpoint, Resolver


def test_how_endpoints_are_called() -> None:
    assert str(Endpoint("logs.example", 24224)) == "logs.example:24224"
    assert str(Endpoint("::1", 24224)) == "[::1]:24224"
    assert str(Endpoint("", 0, "/run/forward.sock")) == "/run/forward.sock"


def test_addresses_and_paths_are_taken_as_they_are() -> None:
    async def scenario() -> None:
        assert await Resolver(Endpoint("127.0.0.1", 5)).addresses() == [(socket.AF_INET, ("127.0.0.1", 5))]
        assert await Resolver(Endpoint("::1", 5)).addresses() == [(socket.AF_INET6, ("::1", 5, 0, 0))]
        assert await Resolver(Endpoint("", 0, "/run/x")).addresses() == [(socket.AF_UNIX, "/run/x")]

    asyncio.run(scenario())


def test_a_name() -> None:
    found = asyncio.run(Resolver(Endpoint("localhost", 5)).addresses())
    assert (socket.AF_INET, ("127.0.0.1", 5)) in found


def test_a_name_without_address() -> None:
    async def scenario() -> None:
        resolver = Resolver(Endpoint("name.invalid", 1))
        for _ in range(2):
            with pytest.raises(socket.gaierror):
                await resolver.addresses()

    asyncio.run(scenario())


def test_a_silent_name_server_holds_neither_the_loop_nor_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    answer, asked = threading.Event(), threading.Event()
    questions = 0
    real = socket.getaddrinfo

    def silent(host: str, *arguments: object, flags: int = 0, **options: object) -> object:
        nonlocal questions
        if flags == socket.AI_NUMERICHOST:
            return real(host, *arguments, flags=flags, **options)  # type: ignore[arg-type,misc]
        questions += 1
        asked.set()
        answer.wait(30)
        return real("127.0.0.1", 7, type=socket.SOCK_STREAM)

    monkeypatch.setattr(socket, "getaddrinfo", silent)
    resolver = Resolver(Endpoint("slow.example", 7))

    async def scenario() -> None:
        for _ in range(3):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.01):
                    await resolver.addresses()
        asked.wait(20)
        waiting = [asyncio.create_task(resolver.addresses()) for _ in range(3)]
        await asyncio.sleep(0)
        answer.set()
        assert await asyncio.gather(*waiting) == [[(socket.AF_INET, ("127.0.0.1", 7))]] * 3
        answer.clear()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await resolver.addresses()

    asyncio.run(scenario())
    answer.set()
    assert questions == 2
