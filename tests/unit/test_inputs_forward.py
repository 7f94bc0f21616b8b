"""The forward input with clients of three makes: our own output, fluent-logger, sockets that mean no good."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import socket
import struct
from pathlib import Path
from typing import Any

import msgpack
import pytest
from fluent import asyncsender, sender  # type: ignore[import-untyped]

from collector.certificates import TlsFilesUnusable
from collector.config.kinds import boolean
from collector.delivery.chunk import Chunk, chunk_id
from collector.entries import pack_entry, unpack_entries
from collector.filters.sees_records import SeesRecords
from collector.inputs import forward as forward_input
from collector.inputs.forward import Settings, permissions, user
from collector.inputs.listener import Unlistenable
from collector.outputs import forward
from collector.plugin import DeliveryError
from tests.certificates import Authority
from tests.forward_input import receiving
from tests.unit.chunks import chunk_of

LOG = logging.getLogger("test")
TIME_NS = 1_700_000_000_123_456_789


def output(port: int, **settings: Any) -> forward.ForwardOutput:
    made = dataclasses.replace(forward.Settings(), port=port, require_ack_response=True, **settings)
    return forward.ForwardOutput(made, LOG)


def chunk(count: int, tag: str = "kube.a") -> Chunk:
    return chunk_of(*({"log": "x" * 100, "n": number} for number in range(count)), tag=tag, time_ns=TIME_NS)


@pytest.mark.parametrize(
    "settings",
    [{}, {"compress": "gzip"}, {"compress": "zstd"}, {"time_as_integer": True}, {"tag": "kube.$none"}],
    ids=str,
)
def test_from_podwitness_to_podwitness(settings: dict[str, Any]) -> None:
    async def scenario() -> None:
        async with receiving() as running:
            client, sent = output(running.port, **settings), chunk(2000)
            await client.deliver(sent)
            taken = running.taken.chunks
            assert {one.tag for one in taken} == {"kube.a"}
            assert sum(one.records for one in taken) == 2000
            if not settings.get("time_as_integer"):
                assert b"".join(one.entries for one in taken) == sent.entries
            assert [record["n"] for record in running.taken.records] == list(range(2000))
            assert all(one.position is None and one.source == "forward.0" for one in taken)
            await client.close()

    asyncio.run(scenario())


def test_the_same_chunk_twice_has_one_id_and_without_ack_each_its_own() -> None:
    async def scenario() -> None:
        async with receiving() as running:
            for _ in range(2):
                client = output(running.port)
                await client.deliver(chunk(3))
                await client.close()
            plain = forward.ForwardOutput(forward.Settings(port=running.port), LOG)
            await plain.deliver(chunk(3))
            await plain.deliver(chunk(3))
            await plain.close()
            await running.taken.until(lambda: len(running.taken.chunks) == 4)
            first, second, *others = [one.id for one in running.taken.chunks]
            assert first == second == chunk_id("forward", "kube.a", msgpack.packb(_base64(chunk(3).id)))
            assert len({first, *others}) == 3

    asyncio.run(scenario())


def _base64(raw: bytes) -> str:
    import base64

    return base64.b64encode(raw).decode()


def test_an_ack_comes_when_the_router_has_taken_the_records() -> None:
    async def scenario() -> None:
        async with receiving() as running:
            running.taken.room.clear()
            client = output(running.port, io_timeout_s=0.2)
            with pytest.raises(DeliveryError, match="neither read nor answered in time"):
                await client.deliver(chunk(1))
            running.taken.room.set()
            await client.deliver(chunk(1))
            await client.close()
            assert len({one.id for one in running.taken.chunks}) == 1

    asyncio.run(scenario())


def test_tags() -> None:
    async def scenario() -> None:
        cases: list[tuple[dict[str, Any], str]] = [
            ({"tag_prefix": "edge."}, "edge.kube.a"),
            ({"tag": "own", "tag_prefix": "x."}, "own"),
        ]
        for settings, tag in cases:
            async with receiving(**settings) as running:
                client = output(running.port)
                await client.deliver(chunk(1))
                await client.close()
                assert running.taken.chunks[0].tag == tag

    asyncio.run(scenario())


class Even(SeesRecords):
    """A filter that keeps records with an even number."""

    def matches(self, tag: str) -> bool:
        return True

    def apply(self, tag: str, record: list[tuple[Any, Any]], identity: Any) -> list[tuple[Any, Any]] | None:
        return record if dict(record)["n"] % 2 == 0 else None


def test_filters_see_the_records() -> None:
    async def scenario() -> None:
        async with receiving(filters=[Even()]) as running:
            client = output(running.port)
            await client.deliver(chunk(5))
            await client.deliver(chunk_of({"n": 1}))
            await client.close()
            assert [record["n"] for record in running.taken.records] == [0, 2, 4]
            assert len(running.taken.chunks) == 1

    asyncio.run(scenario())


def log_by_fluent_logger(port: int, make: Any) -> None:
    client = make("app", host="127.0.0.1", port=port, nanosecond_precision=True)
    for number in range(20):
        assert client.emit_with_time("web", 1_700_000_000 + number, {"n": number, "deep": {"a": [1, None]}})
    client.emit("now", {"n": 20})
    client.close()


@pytest.mark.parametrize("make", [sender.FluentSender, asyncsender.FluentSender])
def test_fluent_logger(make: Any) -> None:
    async def scenario() -> None:
        async with receiving() as running:
            await asyncio.to_thread(log_by_fluent_logger, running.port, make)
            await running.taken.until(lambda: len(running.taken.records) == 21)
            assert [record["n"] for record in running.taken.records] == list(range(21))
            assert running.taken.chunks[0].tag == "app.web"
            assert running.taken.chunks[20].tag == "app.now"
            time_ns, _ = next(unpack_entries(running.taken.chunks[3].entries))
            assert time_ns == 1_700_000_003 * 10**9

    asyncio.run(scenario())


def test_users() -> None:
    settings: dict[str, Any] = {
        "shared_key": "secret",
        "users": (("node", "pass"),),
        "self_hostname": "aggregator",
    }

    async def scenario() -> None:
        async with receiving(**settings) as running:
            client = output(running.port, shared_key="secret", username="node", password="pass")
            for _ in range(3):
                await client.deliver(chunk(1))
            await client.close()
            assert len(running.taken.chunks) == 3
            for wrong in ({"shared_key": "x"}, {"shared_key": "secret", "username": "node", "password": "x"}):
                with pytest.raises(DeliveryError, match=r"refused the handshake: .*mismatch"):
                    await output(running.port, **wrong).deliver(chunk(1))
            with pytest.raises(DeliveryError):
                await output(running.port, io_timeout_s=5.0).deliver(chunk(1))
            assert running.refused("handshake") == 3
            assert len(running.taken.chunks) == 3

    asyncio.run(scenario())


def test_tls_with_client_certificates_that_are_replaced(tmp_path: Path) -> None:
    first, second = Authority.make(tmp_path / "1"), Authority.make(tmp_path / "2")
    crt, key = tmp_path / "server.crt", tmp_path / "server.key"

    def install(authority: Authority) -> None:
        for target, source in zip((crt, key), authority.issue("server"), strict=True):
            target.write_bytes(source.read_bytes())

    install(first)
    client_crt, client_key = map(str, first.issue("client", subject="node"))
    settings: dict[str, Any] = {
        "tls": True, "crt_file": str(crt), "key_file": str(key), "ca_file": str(first.certificate),
        "verify_client_cert": True,
    }  # fmt: skip

    async def scenario() -> None:
        async with receiving(**settings) as running:
            own = {"tls": True, "verify_hostname": True, "crt_file": client_crt, "key_file": client_key}
            client = output(running.port, ca_file=str(first.certificate), **own)
            await client.deliver(chunk(3000))
            install(second)
            await client.deliver(chunk(1))  # the session that there is goes on
            renewed = output(running.port, ca_file=str(second.certificate), **own)
            await renewed.deliver(chunk(1))
            assert sum(one.records for one in running.taken.chunks) == 3002
            with pytest.raises(DeliveryError):
                await output(running.port, tls=True, ca_file=str(second.certificate)).deliver(chunk(1))
            with pytest.raises(DeliveryError):
                await output(running.port, io_timeout_s=5.0).deliver(chunk(1))
            await running.taken.until(lambda: True)
            await client.close()
            await renewed.close()
        assert running.refused("tls") == 2

    asyncio.run(scenario())


def test_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "in.sock"

    async def scenario() -> None:
        async with receiving(unix_path=str(path), unix_perm=0o600) as running:
            client = output(1, unix_path=str(path))
            await client.deliver(chunk(2))
            await client.close()
            assert len(running.taken.chunks) == 1
        assert not path.exists()

    asyncio.run(scenario())


def test_signs_of_life() -> None:
    async def scenario() -> None:
        async with receiving() as running:
            loop = asyncio.get_running_loop()
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as beat:
                beat.setblocking(False)
                beat.connect(("127.0.0.1", running.port))
                beat.send(b"\0" * 500)  # not answered: nobody gets more than one byte for one
                beat.send(b"\0")
                assert await asyncio.wait_for(loop.sock_recv(beat, 100), 10) == b"\0"
            _, writer = await asyncio.open_connection("127.0.0.1", running.port)
            writer.write(b"\xc0" + msgpack.packb(["t", 5, {"n": 1}]))
            await running.taken.until(lambda: len(running.taken.records) == 1)
            writer.close()

    asyncio.run(scenario())


async def talk(port: int, data: bytes) -> bytes:
    """Sends, and waits until the input ends the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(data)
    try:
        return await asyncio.wait_for(reader.read(), 20)
    except ConnectionResetError:
        return b""
    finally:
        writer.close()


@pytest.mark.parametrize(
    ("data", "cause"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "malformed"),
        (b"\xc1", "malformed"),
        (b"\x91" * 5000, "malformed"),
        (msgpack.packb(["t", b"x" * 5000]), "too_large"),
        (b"\x92\xa1t\xdd\xff\xff\xff\xff" + b"\x92\x01\x80" * 3000, "too_large"),
    ],
)
def test_who_sends_what_is_none_is_turned_away(data: bytes, cause: str) -> None:
    async def scenario() -> None:
        async with receiving(buffer_max_size=4096) as running:
            assert await talk(running.port, data) == b""
            assert running.refused(cause) == 1
            client = output(running.port)
            await client.deliver(chunk(1))
            await client.close()

    asyncio.run(scenario())


def test_entries_that_are_none_are_kept_and_counted() -> None:
    async def scenario() -> None:
        async with receiving() as running:
            _, writer = await asyncio.open_connection("127.0.0.1", running.port)
            entries = pack_entry(TIME_NS, [("n", 1)]) + b"\xa3abc" + b"\x92\x01"
            writer.write(msgpack.packb(["t", entries]))
            await running.taken.until(lambda: len(running.taken.records) == 3)
            assert running.taken.records == [{"n": 1}, {"log": b"\xa3abc"}, {"log": b"\x92\x01"}]
            assert running.metrics.value("podwitness_forward_malformed_records_total", "forward.0") == 2
            writer.close()

    asyncio.run(scenario())


def test_who_is_too_slow_is_turned_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forward_input, "MESSAGE_S", 0.2)
    monkeypatch.setattr(forward_input, "HANDSHAKE_S", 0.2)

    async def drip(port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        ended = asyncio.ensure_future(reader.read())
        for byte in msgpack.packb(["tag", 5, {"n": 1}])[:-1] * 50:
            if ended.done():
                break
            writer.write(bytes([byte]))
            await asyncio.wait([ended], timeout=0.02)
        assert await asyncio.wait_for(ended, 10) == b""
        writer.close()

    async def scenario() -> None:
        async with receiving() as running:
            await drip(running.port)
            assert running.refused("slow") == 1
        async with receiving(shared_key="x") as running:
            assert (await talk(running.port, b"")).startswith(b"\x92\xa4HELO")
            assert running.refused("slow") == 1
        async with receiving() as running:
            # One that says nothing between messages may.
            _, writer = await asyncio.open_connection("127.0.0.1", running.port)
            for number in range(3):
                writer.write(msgpack.packb(["t", 5, {"n": number}]))
                await running.taken.count(number + 1)
                await asyncio.sleep(0.25)
            assert running.refused("slow") == 0
            writer.close()

    asyncio.run(scenario())


def test_pieces_of_messages_have_a_bound_together() -> None:
    async def scenario() -> None:
        async with receiving(buffer_max_size=600_000) as running:
            head = b"\x92\xa1t\xc6" + struct.pack(">I", 590_000)
            clients = [await asyncio.open_connection("127.0.0.1", running.port) for _ in range(8)]
            for _, writer in clients:
                writer.write(head + b"x" * 500_000)
            ended = [asyncio.ensure_future(reader.read()) for reader, _ in clients]
            async with asyncio.timeout(20):
                while running.refused("memory") < 3:
                    await asyncio.wait(ended, timeout=0.05, return_when=asyncio.FIRST_COMPLETED)
            client = output(running.port)
            await client.deliver(chunk(5))
            assert running.subject._admission.used_bytes <= running.subject._admission.total_bytes
            await client.close()
            for _, writer in clients:
                writer.close()
            await asyncio.wait(ended)

    asyncio.run(scenario())


def test_at_the_end_what_is_there_is_taken() -> None:
    async def scenario() -> None:
        async with receiving() as running:
            running.taken.room.clear()
            reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
            writer.write(msgpack.packb(["t", 5, {"n": 1}, {"chunk": "c"}]))
            idle_reader, idle_writer = await asyncio.open_connection("127.0.0.1", running.port)
            await running.taken.asked.wait()
            running.stop.set()
            assert await asyncio.wait_for(idle_reader.read(), 10) == b""
            running.taken.room.set()
            assert msgpack.unpackb(await asyncio.wait_for(reader.read(), 10)) == {"ack": "c"}
            await running.task
            assert running.taken.records == [{"n": 1}]
            writer.close()
            idle_writer.close()

    asyncio.run(scenario())


def test_what_will_never_be_safe_is_not_acknowledged() -> None:
    async def scenario() -> None:
        async with receiving() as running:
            running.taken.is_safe = False
            reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
            writer.write(msgpack.packb(["t", 5, {"n": 1}, {"chunk": "c"}]))
            await running.taken.count(1)
            running.stop.set()
            assert await asyncio.wait_for(reader.read(), 10) == b""
            writer.close()

    asyncio.run(scenario())


def test_a_chunk_that_is_sent_again_while_it_is_under_way_is_one() -> None:
    async def scenario() -> None:
        async with receiving() as running:
            running.taken.room.clear()
            for _ in range(5):
                client = output(running.port, io_timeout_s=0.1)
                with pytest.raises(DeliveryError, match="in time"):
                    await client.deliver(chunk(3))
            last = asyncio.create_task(output(running.port).deliver(chunk(3)))
            await asyncio.wait([last], timeout=0.1)
            running.taken.room.set()
            await last
            assert len(running.taken.chunks) == 1
            await output(running.port).deliver(chunk(3))
            assert len(running.taken.chunks) == 2

    asyncio.run(scenario())


def test_settings() -> None:
    assert user.read("node a b") == ("node", "a b")
    assert permissions.read("0660") == permissions.read("660") == 0o660
    for kind, wrong in ((user, "node"), (permissions, "rw"), (permissions, "07777")):
        with pytest.raises(ValueError, match="expected"):
            kind.read(wrong)
    for settings, sentence in (
        ({"unix_path": "/x", "tls": True, "crt_file": "x"}, "Unix_Path and tls"),
        ({"users": (("a", "b"),)}, r"Security\.Users without Shared_Key"),
        ({"buffer_max_size": 10}, "below 1024"),
    ):
        with pytest.raises(ValueError, match=sentence):
            dataclasses.replace(Settings(), **settings)
    assert Settings(empty_shared_key=boolean.read("on")).has_handshake


def test_what_can_not_be_had_stops_the_start(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with receiving() as running:
            with pytest.raises(Unlistenable):
                async with receiving(port=running.port):
                    pass
        with pytest.raises(TlsFilesUnusable):
            async with receiving(tls=True, crt_file=str(tmp_path / "none")):
                pass

    asyncio.run(scenario())
