"""The forward output against a real receiver on loopback: what arrives, and how connections are used."""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import logging
import socket
from pathlib import Path

import pytest

from collector.certificates import TlsFilesUnusable
from collector.delivery.chunk import Chunk, chunk_id
from collector.entries import pack_entry
from collector.outputs.forward import ForwardOutput, Settings, option
from collector.outputs.tls import TlsSessions
from collector.plugin import DeliveryError
from tests.certificates import Authority
from tests.receiver import Receiver, Users, receiving

LOG = logging.getLogger("test")
TIME_NS = 1_700_000_000_123_456_789


def chunk(*records: dict[str, object], tag: str = "kube.a") -> Chunk:
    entries = b"".join(pack_entry(TIME_NS, list(record.items())) for record in records)
    return Chunk(chunk_id(tag, entries), tag, memoryview(entries), len(records), "tail.0", 0)


def output(receiver: Receiver, **settings: object) -> ForwardOutput:
    made = dataclasses.replace(Settings(), host="127.0.0.1", port=receiver.port or 1, **settings)  # type: ignore[arg-type]
    return ForwardOutput(made, LOG)


def test_entries_arrive_byte_for_byte_and_without_options_unless_asked() -> None:
    async def scenario() -> None:
        async with receiving() as receiver:
            forward = output(receiver)
            sent = chunk({"log": "one"}, {"log": "two"})
            await forward.deliver(sent)
            await receiver.wait_until(lambda: len(receiver.received) == 1)
            (received,) = receiver.received
            assert (received.tag, received.packed, received.options) == ("kube.a", sent.entries, {})
            assert received.entries == [(TIME_NS, {b"log": b"one"}), (TIME_NS, {b"log": b"two"})]
            await forward.close()

    asyncio.run(scenario())


def test_with_ack_the_chunk_has_its_id_and_size() -> None:
    async def scenario() -> None:
        async with receiving() as receiver:
            forward = output(receiver, require_ack_response=True)
            sent = chunk({"log": "one"})
            await forward.deliver(sent)
            assert receiver.received[0].options == {
                "chunk": base64.b64encode(sent.id).decode(),
                "size": 1,
                "fluent_signal": 0,
            }
            await forward.close()

    asyncio.run(scenario())


def test_one_connection_serves_many_chunks() -> None:
    async def scenario() -> None:
        async with receiving() as receiver:
            forward = output(receiver, require_ack_response=True)
            for number in range(50):
                await forward.deliver(chunk({"n": number}))
            assert receiver.connections == 1
            assert [record[b"n"] for record in receiver.records] == list(range(50))
            await forward.close()
            await receiver.wait_until(lambda: receiver.open_connections == 0)

    asyncio.run(scenario())


@pytest.mark.parametrize(("settings", "connections"), [({"keepalive": False}, 4), ({"max_recycle": 1}, 2)])
def test_connections_are_recycled_as_configured(settings: dict[str, object], connections: int) -> None:
    async def scenario() -> None:
        async with receiving() as receiver:
            forward = output(receiver, require_ack_response=True, **settings)
            for number in range(4):
                await forward.deliver(chunk({"n": number}))
            assert receiver.connections == connections
            await forward.close()

    asyncio.run(scenario())


def test_an_idle_connection_is_closed_after_its_time() -> None:
    async def scenario() -> None:
        async with receiving() as receiver:
            forward = output(receiver, require_ack_response=True, idle_timeout_s=0.05)
            await forward.deliver(chunk({"n": 1}))
            await receiver.wait_until(lambda: receiver.open_connections == 0)
            await forward.deliver(chunk({"n": 2}))
            assert receiver.connections == 2
            await forward.close()

    asyncio.run(scenario())


def test_a_chunk_larger_than_all_socket_buffers_arrives_whole() -> None:
    async def scenario() -> None:
        async with receiving() as receiver:
            forward = output(receiver, require_ack_response=True)
            receiver.reading.clear()
            sent = chunk(*({"log": "x" * 60_000, "n": number} for number in range(400)))
            delivery = asyncio.create_task(forward.deliver(sent))
            await receiver.wait_until(lambda: receiver.open_connections == 1)
            receiver.reading.set()
            await delivery
            assert receiver.received[0].packed == sent.entries
            await forward.close()

    asyncio.run(scenario())


def test_time_as_integer_and_own_tag() -> None:
    async def scenario() -> None:
        async with receiving() as receiver:
            forward = output(receiver, time_as_integer=True, tag="other", send_options=True)
            await forward.deliver(chunk({"log": "a", "deep": {"b": [1, None]}}, {"log": "c"}))
            await receiver.wait_until(lambda: len(receiver.received) == 1)
            (received,) = receiver.received
            assert (received.tag, received.options) == ("other", {"size": 2, "fluent_signal": 0})
            assert received.entries[0] == (1_700_000_000 * 10**9, {b"log": b"a", b"deep": {b"b": [1, None]}})
            await forward.close()

    asyncio.run(scenario())


def test_a_tag_made_of_values_sends_a_message_for_each_record() -> None:
    async def scenario() -> None:
        async with receiving() as receiver:
            forward = output(receiver, tag="app.$name.$TAG[1]", require_ack_response=True)
            sent = chunk(*({"name": f"n{number % 3}", "n": number} for number in range(600)), {"other": 1})
            await forward.deliver(sent)
            assert len(receiver.received) == 601
            assert [one.tag for one in receiver.received[:2]] == ["app.n0.a", "app.n1.a"]
            assert receiver.received[600].tag == "kube.a"
            assert receiver.records[599] == {b"name": b"n2", b"n": 599}
            assert receiver.received[0].entries[0][0] == TIME_NS
            assert len({one.chunk for one in receiver.received}) == 601
            await forward.close()

    asyncio.run(scenario())


def test_options_of_ones_own() -> None:
    async def scenario() -> None:
        async with receiving() as receiver:
            forward = output(receiver, add_option=(("team", "a b"),))
            await forward.deliver(chunk({"n": 1}))
            await receiver.wait_until(lambda: len(receiver.received) == 1)
            assert receiver.received[0].options == {"size": 1, "fluent_signal": 0, "team": "a b"}
            await forward.close()

    asyncio.run(scenario())
    assert option.read("team a b") == ("team", "a b")
    for wrong in ("team", "chunk x"):
        with pytest.raises(ValueError, match="expected"):
            option.read(wrong)


@pytest.mark.parametrize("retain", [False, True])
def test_metadata_of_records_that_came_by_a_forward_input(retain: bool) -> None:
    async def scenario() -> None:
        async with receiving() as receiver:
            settings = dataclasses.replace(Settings(), port=receiver.port, retain_metadata=retain)
            forward = ForwardOutput(settings, LOG, may_have_metadata=True)
            plain = chunk({"n": 1})
            time, record = plain.entries[1:11], plain.entries[11:]
            sent = dataclasses.replace(plain, entries=b"\x92\x92" + time + b"\x81\xa1a\x01" + record)
            await forward.deliver(sent)
            await receiver.wait_until(lambda: len(receiver.received) == 1)
            assert receiver.received[0].packed == (sent.entries if retain else plain.entries)
            await forward.close()

    asyncio.run(scenario())


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_compression(compression: str) -> None:
    async def scenario() -> None:
        async with receiving() as receiver:
            forward = output(receiver, compress=compression, require_ack_response=True)
            sent = chunk(*({"log": "again and again", "n": number} for number in range(1000)))
            await forward.deliver(sent)
            assert receiver.received[0].packed == sent.entries
            assert receiver.received[0].options["compressed"] == compression
            await forward.close()

    asyncio.run(scenario())


def test_unix_socket(tmp_path: Path) -> None:
    async def scenario() -> None:
        path = str(tmp_path / "forward.sock")
        async with receiving(unix_path=path) as receiver:
            forward = output(receiver, unix_path=path, require_ack_response=True)
            await forward.deliver(chunk({"log": "a"}))
            assert len(receiver.received) == 1
            await forward.close()

    asyncio.run(scenario())


def test_a_tag_that_is_not_utf8_arrives_as_it_is() -> None:
    async def scenario() -> None:
        async with receiving() as receiver:
            forward = output(receiver, require_ack_response=True)
            await forward.deliver(chunk({"log": "a"}, tag="kube.\udcff"))
            assert receiver.received[0].tag == "kube.\udcff"
            await forward.close()

    asyncio.run(scenario())


def test_handshake_with_shared_key_and_user_once_per_connection() -> None:
    async def scenario() -> None:
        async with receiving(Receiver(users=Users("secret", "node", "pass"))) as receiver:
            forward = output(
                receiver, shared_key="secret", username="node", password="pass", require_ack_response=True
            )
            for number in range(3):
                await forward.deliver(chunk({"n": number}))
            assert (receiver.connections, len(receiver.received)) == (1, 3)
            await forward.close()

    asyncio.run(scenario())


def test_a_receiver_may_refuse_keepalive_in_the_handshake() -> None:
    async def scenario() -> None:
        async with receiving(Receiver(users=Users("secret", keepalive=False))) as receiver:
            forward = output(receiver, shared_key="secret", require_ack_response=True)
            for number in range(3):
                await forward.deliver(chunk({"n": number}))
            assert receiver.connections == 3
            await forward.close()

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("users", "sentence"),
    [
        (Users("other"), "refused the handshake: shared_key mismatch"),
        (Users("secret", "node", "wrong"), "refused the handshake: username/password mismatch"),
    ],
)
def test_a_refused_handshake_says_why(users: Users, sentence: str) -> None:
    async def scenario() -> None:
        async with receiving(Receiver(users=users)) as receiver:
            forward = output(receiver, shared_key="secret", username="node", password="pass")
            with pytest.raises(DeliveryError, match=sentence):
                await forward.deliver(chunk({"n": 1}))
            await receiver.wait_until(lambda: receiver.open_connections == 0)

    asyncio.run(scenario())


def test_keys_that_contradict_each_other() -> None:
    with pytest.raises(ValueError, match="TLS needs Host and Port"):
        dataclasses.replace(Settings(), unix_path="/run/x", tls=True)
    with pytest.raises(ValueError, match="Compress and Time_as_Integer"):
        dataclasses.replace(Settings(), compress="gzip", time_as_integer=True)
    with pytest.raises(ValueError, match="Compress and a Tag that names"):
        dataclasses.replace(Settings(), compress="gzip", tag="app.$name")
    with pytest.raises(ValueError, match=r"tls\.key_file without"):
        dataclasses.replace(Settings(), tls=True, key_file="client.key")


def test_nobody_listens() -> None:
    async def scenario() -> None:
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            forward = output(Receiver(port=unused.getsockname()[1]))
            with pytest.raises(
                DeliveryError, match=r"127\.0\.0\.1:\d+: it failed: Connection refused \(ECONNREFUSED\)"
            ):
                await forward.deliver(chunk({"n": 1}))

    asyncio.run(scenario())


def tls(authority: Authority, **settings: object) -> dict[str, object]:
    return {"tls": True, "ca_file": str(authority.certificate), "require_ack_response": True, **settings}


def test_tls_with_client_certificate(tmp_path: Path) -> None:
    authority = Authority.make(tmp_path)
    crt_file, key_file = map(str, authority.issue("client", subject="node", password="hush"))

    async def scenario() -> None:
        async with receiving(tls=authority.server_context(asks_client=True)) as receiver:
            forward = output(
                receiver, **tls(authority, crt_file=crt_file, key_file=key_file, key_passwd="hush")
            )
            sent = chunk(*({"log": "x" * 1000, "n": number} for number in range(5000)))
            for _ in range(3):
                await forward.deliver(sent)
            assert [received.packed for received in receiver.received] == [sent.entries] * 3
            assert receiver.connections == 1
            await forward.close()
            await receiver.wait_until(lambda: receiver.open_connections == 0)

    asyncio.run(scenario())


def test_tls_without_ack_loses_nothing_at_close(tmp_path: Path) -> None:
    authority = Authority.make(tmp_path)

    async def scenario() -> None:
        async with receiving(tls=authority.server_context()) as receiver:
            forward = output(receiver, **tls(authority, require_ack_response=False, keepalive=False))
            sent = chunk({"log": "x" * 300_000})
            await forward.deliver(sent)
            assert len(receiver.received) == 1

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({}, "certificate that can't be trusted: .*self-signed|unable to get local issuer"),
        ({"verify_hostname": True}, "can't be trusted"),
    ],
)
def test_tls_refuses_a_foreign_ca(tmp_path: Path, settings: dict[str, object], sentence: str) -> None:
    authority = Authority.make(tmp_path / "ours")
    foreign = Authority.make(tmp_path / "theirs", "foreign CA")

    async def scenario() -> None:
        async with receiving(tls=foreign.server_context()) as receiver:
            forward = output(receiver, **tls(authority, **settings))
            with pytest.raises(DeliveryError, match=sentence):
                await forward.deliver(chunk({"n": 1}))
            unverified = output(receiver, **tls(authority, verify=False))
            await unverified.deliver(chunk({"n": 1}))
            await unverified.close()

    asyncio.run(scenario())


def test_tls_host_name_is_checked_only_when_asked(tmp_path: Path) -> None:
    authority = Authority.make(tmp_path)

    async def scenario() -> None:
        async with receiving(tls=authority.server_context(subject="logs.example")) as receiver:
            for settings in ({}, {"verify_hostname": True, "vhost": "logs.example"}):
                forward = output(receiver, **tls(authority, **settings))
                await forward.deliver(chunk({"n": 1}))
                await forward.close()
            forward = output(receiver, **tls(authority, verify_hostname=True, vhost="other.example"))
            with pytest.raises(DeliveryError, match=r"can't be trusted: Hostname mismatch.*other\.example"):
                await forward.deliver(chunk({"n": 1}))

    asyncio.run(scenario())


def test_tls_files_are_read_again_for_each_new_session(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    first, second = Authority.make(tmp_path / "1"), Authority.make(tmp_path / "2")
    ca_file = tmp_path / "ca.crt"
    ca_file.write_bytes(first.certificate.read_bytes())

    async def scenario() -> None:
        async with receiving(tls=second.server_context()) as receiver:
            forward = output(receiver, **tls(first, ca_file=str(ca_file), keepalive=False))
            with pytest.raises(DeliveryError, match="can't be trusted"):
                await forward.deliver(chunk({"n": 1}))
            ca_file.write_bytes(second.certificate.read_bytes())
            await forward.deliver(chunk({"n": 2}))
            ca_file.write_text("not a certificate")
            await forward.deliver(chunk({"n": 3}))
            await forward.deliver(chunk({"n": 4}))
            assert len(receiver.received) == 3

    asyncio.run(scenario())
    assert caplog.text.count("The certificates read before stay in use") == 1


def test_tls_with_ciphers_of_ones_own(tmp_path: Path) -> None:
    authority = Authority.make(tmp_path)
    settings = {"max_version": "TLSv1.2", "ciphers": "ECDHE-ECDSA-AES256-GCM-SHA384"}

    async def scenario() -> None:
        context = authority.server_context()
        async with receiving(tls=context) as receiver:
            forward = output(receiver, **tls(authority, **settings))
            await forward.deliver(chunk({"n": 1}))
            await forward.close()
            context.set_ciphers("ECDHE-ECDSA-AES128-GCM-SHA256")
            forward = output(receiver, **tls(authority, **settings))
            with pytest.raises(DeliveryError, match="broke TLS"):
                await forward.deliver(chunk({"n": 1}))

    asyncio.run(scenario())


def test_tls_files_that_are_missing_stop_the_start(tmp_path: Path) -> None:
    settings = dataclasses.replace(Settings(), tls=True, ca_file=str(tmp_path / "none.crt"))
    with pytest.raises(TlsFilesUnusable, match=r"none\.crt\) can't be used: .*No such file"):
        TlsSessions(settings, LOG)
