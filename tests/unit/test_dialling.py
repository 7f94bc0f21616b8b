"""How a connection is made: addresses in turn, from where, with which probes."""

from __future__ import annotations

import asyncio
import ipaddress
import socket

import pytest

from collector.outputs.dialling import Dialling, source
from collector.outputs.pool import ConnectionSettings
from collector.outputs.resolver import Address

V4: Address = (socket.AF_INET, ("192.0.2.1", 1))
V6: Address = (socket.AF_INET6, ("2001:db8::1", 1, 0, 0))


def test_the_next_address_is_tried() -> None:
    async def scenario() -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            open_port = server.getsockname()
            with socket.create_server(("127.0.0.1", 0)) as other:
                closed_port = other.getsockname()
            closed, opened = (socket.AF_INET, closed_port), (socket.AF_INET, open_port)
            (await Dialling().connect([closed, opened])).close()
            with pytest.raises(ConnectionRefusedError):
                await Dialling().connect([closed])
            with pytest.raises(OSError, match="Cannot assign requested address"):
                await Dialling().connect([])

    asyncio.run(scenario())


def test_which_addresses_come_first() -> None:
    assert Dialling().ordered([V6, V4]) == [V6, V4]
    assert ConnectionSettings(prefer_ipv4=True).dialling().ordered([V6, V4]) == [V4, V6]
    assert ConnectionSettings(prefer_ipv6=True).dialling().ordered([V4, V6]) == [V6, V4]
    assert Dialling(source=source("127.0.0.2")).ordered([V6, V4]) == [V4]
    assert Dialling(source=source("::1")).ordered([V6, V4]) == [V6]
    with pytest.raises(ValueError, match="keep one"):
        ConnectionSettings(prefer_ipv4=True, prefer_ipv6=True)
    with pytest.raises(ValueError, match=r"net\.source_address 'eth0' that is no IP address"):
        ConnectionSettings(source_address="eth0")


def test_where_it_comes_from_and_how_it_is_probed() -> None:
    settings = ConnectionSettings(
        source_address="127.0.0.9",
        tcp_keepalive=True,
        tcp_keepalive_time_s=7,
        tcp_keepalive_interval_s=5,
        tcp_keepalive_probes=3,
    )

    async def scenario() -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            with await settings.dialling().connect([(socket.AF_INET, server.getsockname())]) as sock:
                assert sock.getsockname()[0] == "127.0.0.9"
                assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
                assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 7
                assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL) == 5
                assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT) == 3
            with await Dialling().connect([(socket.AF_INET, server.getsockname())]) as sock:
                assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 0
                assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1

    asyncio.run(scenario())


def test_a_source_is_an_address() -> None:
    assert source("::1") == ipaddress.ip_address("::1")


def test_how_many_chunks_are_sent_at_the_same_time() -> None:
    assert ConnectionSettings().deliveries(4) == 4
    assert ConnectionSettings(max_connections=2).deliveries(4) == 2
    assert ConnectionSettings(max_connections=9).deliveries(4) == 4
