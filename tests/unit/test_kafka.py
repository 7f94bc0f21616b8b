"""The kafka output against librdkafka's mock cluster."""

from __future__ import annotations

import asyncio
import builtins
import json
import logging
from typing import Any

import confluent_kafka
import pytest

from collector.accessor import read
from collector.config.schema import InvalidConfiguration, load
from collector.config.sections import Entry, Section
from collector.errors import OperatorError
from collector.outputs import kafka
from collector.outputs.kafka import Kafka, Settings
from collector.plugin import DeliveryError, Rejected
from tests.unit.chunks import chunk_of

LOG = logging.getLogger("test")
MOCK = (("test.mock.num.brokers", "1"), ("log_level", "3"))


def output(*properties: tuple[str, str], **settings: Any) -> Kafka:
    return Kafka(Settings(**({"brokers": "mock:1", "rdkafka": (*MOCK, *properties)} | settings)), LOG)


def consumed(subject: Kafka, topics: list[str], count: int) -> list[Any]:
    (broker,) = subject._producer.list_topics(timeout=10).brokers.values()
    consumer = confluent_kafka.Consumer(
        {
            "bootstrap.servers": f"{broker.host}:{broker.port}",
            "group.id": "g",
            "auto.offset.reset": "earliest",
        }
    )
    consumer.subscribe(topics)
    found: list[Any] = []
    while len(found) < count:
        message = consumer.poll(20)
        assert message is not None, f"{len(found)} of {count} messages"
        if message.error() is None:
            found.append(message)
    consumer.close()
    return found


def test_records_arrive_in_their_order() -> None:
    async def scenario() -> None:
        subject = output(topics=("one", "two"), topic_key=read("t"), message_key="k")
        records = [{"n": number, "t": "two" if number % 10 == 0 else "x"} for number in range(500)]
        await subject.deliver(chunk_of(*records))
        await subject.deliver(chunk_of({"n": 500}))
        found = await asyncio.to_thread(consumed, subject, ["one", "two"], 501)
        by_topic = {
            topic: [json.loads(m.value())["n"] for m in found if m.topic() == topic]
            for topic in ("one", "two")
        }
        assert by_topic["two"] == list(range(0, 500, 10))
        assert by_topic["one"] == [n for n in range(501) if n % 10 or n == 500]
        assert found[0].key() == b"k"
        assert found[0].timestamp()[1] == 1_700_000_000_000
        await subject.close()

    asyncio.run(scenario())


def test_a_broker_that_is_not_there() -> None:
    async def scenario() -> None:
        subject = Kafka(
            Settings(
                brokers="127.0.0.1:1",
                rdkafka=(("message.timeout.ms", "300"), ("acks", "1"), ("log_level", "0")),
            ),
            LOG,
        )
        chunk = chunk_of({"n": 1}, {"n": 2})
        for _ in range(2):
            with pytest.raises(DeliveryError, match=r"127\.0\.0\.1:1 did not take 2 records: .*timed out"):
                await subject.deliver(chunk)
        await subject.close()

    asyncio.run(scenario())


def test_a_message_that_is_too_large_is_refused_alone() -> None:
    async def scenario() -> None:
        subject = output(("message.max.bytes", "2000"))
        large = chunk_of({"n": 0}, {"n": 1, "log": "x" * 3000}, {"n": 2})
        with pytest.raises(Rejected, match=r"refused 1 of 3 records: .*too large") as caught:
            await subject.deliver(large)
        assert caught.value.records == 1
        assert caught.value.entries == chunk_of({"n": 1, "log": "x" * 3000}).entries
        with pytest.raises(Rejected) as caught:
            await subject.deliver(chunk_of({"log": "x" * 3000}))
        assert caught.value.records == 0
        found = await asyncio.to_thread(consumed, subject, ["fluent-bit"], 2)
        assert sorted(json.loads(message.value())["n"] for message in found) == [0, 2]
        await subject.close()

    asyncio.run(scenario())


def test_what_finds_no_room_in_the_queue_is_sent_again_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kafka, "QUEUE_FULL_S", 0.0)

    async def scenario() -> None:
        # Nothing leaves the queue within the linger time, so it stays full.
        subject = output(("queue.buffering.max.messages", "3"), ("linger.ms", "300"), queue_full_retries=1)
        chunk = chunk_of(*({"n": number} for number in range(5)))
        with pytest.raises(DeliveryError, match=r"did not take 2 records: librdkafka's queue is full"):
            await subject.deliver(chunk)
        await subject.deliver(chunk)
        found = await asyncio.to_thread(consumed, subject, ["fluent-bit"], 5)
        assert sorted(json.loads(message.value())["n"] for message in found) == list(range(5))
        await subject.close()

    asyncio.run(scenario())


def test_entries_that_are_none() -> None:
    async def scenario() -> None:
        subject = output()
        made = chunk_of({"n": 1})
        with pytest.raises(Rejected, match=r"cut"):
            await subject.deliver(type(made)(made.id, made.tag, made.entries[:-1], 1, "x", 0))
        await subject.close()

    asyncio.run(scenario())


def section(*entries: tuple[str, str]) -> Section:
    return Section("OUTPUT", "x.conf", 1, tuple(Entry(*entry, "x.conf", 2) for entry in entries))


def test_properties_of_librdkafka_are_keys() -> None:
    found = load(
        Settings, section(("Brokers", "a:1"), ("rdkafka.Compression.Codec", "zstd"), ("Topics", "a, b"))
    )
    assert (found.rdkafka, found.topics) == ((("compression.codec", "zstd"),), ("a", "b"))
    with pytest.raises(InvalidConfiguration, match=r"rdkafk\.x is not a key"):
        load(Settings, section(("Brokers", "a:1"), ("rdkafk.x", "1")))
    with pytest.raises(ValueError, match=r"no topic"):
        Settings(brokers="a:1", topics=())


def test_what_can_not_be_used_is_told_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(OperatorError, match=r"librdkafka refuses its properties: .*no.such.property"):
        output(("no.such.property", "1"))
    load_module = builtins.__import__

    def without(name: str, *rest: Any, **more: Any) -> Any:
        if name == "confluent_kafka":
            raise ImportError("No module named 'confluent_kafka'")
        return load_module(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(OperatorError, match=r"pip install 'podwitness\[kafka\]'"):
        output()
