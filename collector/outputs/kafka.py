"""`[OUTPUT] Name kafka`: a message for each record, by librdkafka, as Fluent Bit's output of that name.

librdkafka has its own queue, batches and retries; a chunk is delivered when it
has told of all its messages that the brokers have them.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from collector.accessor import Accessor, read
from collector.config.kinds import Kind
from collector.config.schema import boolean, choice, commas, integer, key, prefixed, text
from collector.errors import OperatorError
from collector.outputs.kafka_messages import TIME_FORMATS, Message, Shape
from collector.outputs.parts import Parts, rejection
from collector.plugin import DeliveryError, Output, Rejected

if TYPE_CHECKING:
    from collector.context import Context
    from collector.delivery.chunk import Chunk

SUMMARY = "Sends records to Kafka; needs `podwitness[kafka]`."

DELIVERIES = 4
# How often librdkafka is asked what has become of messages when nothing wakes it.
POLL_S = 0.2
QUEUE_FULL_S = 1.0
CLOSE_S = 2.0

accessor: Kind[Accessor] = Kind("key, or $nested['keys']", read, show=lambda value: "")


@dataclass(frozen=True)
class Settings:
    """Keys of [OUTPUT] Name kafka."""

    brokers: str = key("Brokers", text, help="Where to ask for the cluster: `host:port`, more by commas.")
    topics: tuple[str, ...] = key(
        "Topics",
        commas,
        default="fluent-bit",
        help="Topics; the first is that of records that name none of them.",
    )
    topic_key: Accessor | None = key(  # noqa: RUF009
        "Topic_Key", accessor, default=None, help="Value of the record that names its topic."
    )
    dynamic_topic: bool = key(
        "Dynamic_Topic", boolean, default="Off", help="Whether it may name one that is not in Topics."
    )
    format: str = key(
        "Format",
        choice(
            "json",
            "msgpack",
            "raw",
            instead={
                "gelf": "GELF is not written: choose json.",
                "avro": "Avro is not written: choose msgpack, or json.",
            },
        ),
        default="json",
        help="How a record is written; `raw`: one value of it.",
    )
    raw_log_key: Accessor | None = key(  # noqa: RUF009
        "Raw_Log_Key",
        accessor,
        default=None,
        help="The value, for Format raw; without it the record is JSON.",
    )
    message_key: str = key("Message_Key", text, default="", help="Key of messages; none where unset.")
    message_key_field: Accessor | None = key(  # noqa: RUF009
        "Message_Key_Field", accessor, default=None, help="Value of the record that is its key."
    )
    timestamp_key: str = key("Timestamp_Key", text, default="@timestamp", help="What the time is called.")
    timestamp_format: str = key(
        "Timestamp_Format", choice(*TIME_FORMATS), default="double", help="How the time is written."
    )
    queue_full_retries: int = key(
        "Queue_Full_Retries",
        integer(0),
        default="10",
        help="How many seconds to wait for room in librdkafka's queue; 0: as long as it takes.",
    )
    client_id: str = key("Client_ID", text, default="podwitness", help="What brokers log.")
    rdkafka: tuple[tuple[str, str], ...] = prefixed(
        "rdkafka.", "{property}", text, help="A property of librdkafka, TLS and SASL among them."
    )

    def __post_init__(self) -> None:
        if not self.topics:
            raise ValueError("has no topic in Topics.")

    @property
    def shape(self) -> Shape:
        return Shape(
            topics=self.topics,
            topic_key=self.topic_key,
            dynamic_topic=self.dynamic_topic,
            message_key=self.message_key,
            message_key_field=self.message_key_field,
            format=self.format,
            raw_log_key=self.raw_log_key,
            time_key=self.timestamp_key,
            time_format=self.timestamp_format,
        )


def make_producer(settings: Settings, log: logging.Logger) -> Any:
    """Raises OperatorError where the library is missing or does not take a property."""
    try:
        import confluent_kafka
    except ImportError as reason:
        raise OperatorError(
            f"The Python library confluent_kafka can't be loaded: {reason}.",
            "Nothing can be sent to Kafka.",
            "Install it: pip install 'podwitness[kafka]', or Debian's python3-confluent-kafka.",
        ) from None
    properties = {
        "bootstrap.servers": settings.brokers,
        "client.id": settings.client_id,
        **dict(settings.rdkafka),
    }
    try:
        return confluent_kafka.Producer(properties, logger=log)
    except confluent_kafka.KafkaException as reason:
        raise OperatorError(
            f"librdkafka refuses its properties: {reason.args[0].str()}.",
            "Nothing can be sent to Kafka.",
            "Look at the rdkafka. keys.",
        ) from None


@dataclass(slots=True, eq=False)
class _Parcel:
    """Messages of a chunk on their way. Told of by the poller's thread, waited for by the loop."""

    numbers: Sequence[int]  # which records of the chunk they are
    done: asyncio.Future[None]
    left: int = 0
    again: list[int] = field(default_factory=list)
    refused: list[int] = field(default_factory=list)
    reason: str = ""


@dataclass(frozen=True, slots=True)
class _Part:
    """Of a chunk: the records that are still to be sent, and those that were refused for good."""

    open: tuple[int, ...]
    refused: tuple[int, ...] = ()
    reason: str = ""


class Kafka:
    """Implements Output. Up to DELIVERIES chunks may be under way at the same time."""

    deliveries = DELIVERIES

    def __init__(self, settings: Settings, log: logging.Logger) -> None:
        self._settings = settings
        self._shape = settings.shape
        self._producer = make_producer(settings, log)
        self._parts: Parts[_Part] = Parts()
        self._closed = threading.Event()
        # A daemon: a broker that hangs must not keep the process.
        threading.Thread(target=self._poll, name="kafka", daemon=True).start()

    def _poll(self) -> None:
        while not self._closed.is_set():
            self._producer.poll(POLL_S)

    async def deliver(self, chunk: Chunk) -> None:
        """Returns when the brokers have all records. Raises DeliveryError, Rejected."""
        try:
            messages = await asyncio.to_thread(lambda: list(self._shape.messages(chunk.entries)))
        except ValueError as reason:
            raise Rejected(str(reason)) from None
        part = self._parts.take(chunk.id) or _Part(tuple(range(len(messages))))
        parcel = _Parcel(part.open, asyncio.get_running_loop().create_future())
        await self._produce(messages, parcel)
        if parcel.left:
            await parcel.done
        refused = (*part.refused, *parcel.refused)
        if parcel.again:
            self._parts.keep(
                chunk.id, _Part(tuple(sorted(parcel.again)), refused, part.reason or parcel.reason)
            )
            raise DeliveryError(
                f"{self._settings.brokers} did not take {len(parcel.again)} records: {parcel.reason}"
            )
        if refused:
            raise rejection(chunk, refused, self._settings.brokers, parcel.reason or part.reason)

    async def _produce(self, messages: Sequence[Message], parcel: _Parcel) -> None:
        """Puts messages into librdkafka's queue; what finds no room there is to be sent again."""
        waited = 0
        loop = asyncio.get_running_loop()
        pending = list(parcel.numbers)
        parcel.left = len(pending)
        while pending:
            queued = await asyncio.to_thread(self._enqueue, messages, pending, parcel, loop)
            pending = pending[queued:]
            if not pending:
                return
            waited += 1
            if waited > self._settings.queue_full_retries > 0:
                parcel.reason = "librdkafka's queue is full"
                parcel.again += pending
                parcel.left -= len(pending)
                return
            await asyncio.sleep(QUEUE_FULL_S)

    def _enqueue(
        self,
        messages: Sequence[Message],
        numbers: Sequence[int],
        parcel: _Parcel,
        loop: asyncio.AbstractEventLoop,
    ) -> int:
        """How many found room."""
        for count, number in enumerate(numbers):
            message = messages[number]

            def told(error: Any, _: Any, number: int = number) -> None:
                loop.call_soon_threadsafe(_settle, parcel, number, error)

            try:
                self._producer.produce(
                    message.topic, message.value, message.key, timestamp=message.time_ms, on_delivery=told
                )
            except BufferError:
                return count
            except Exception as reason:  # KafkaException, for a message larger than message.max.bytes
                error = reason.args[0] if reason.args else reason
                loop.call_soon_threadsafe(_settle, parcel, number, error)
        return len(numbers)

    async def close(self) -> None:
        """Ends the connections; nothing is under way any more, or the router has given it up."""
        await asyncio.to_thread(self._producer.flush, CLOSE_S)
        self._closed.set()


# Not to be mended by sending the same again.
_REFUSALS = frozenset(
    ("MSG_SIZE_TOO_LARGE", "_MSG_SIZE_TOO_LARGE", "INVALID_RECORD", "INVALID_MSG_SIZE", "INVALID_MSG")
)


def _settle(parcel: _Parcel, number: int, error: Any) -> None:
    parcel.left -= 1
    if error is not None:
        name = error.name() if hasattr(error, "name") else ""
        parcel.reason = parcel.reason or (error.str() if hasattr(error, "str") else str(error))
        (parcel.refused if name in _REFUSALS else parcel.again).append(number)
    if parcel.left <= 0 and not parcel.done.done():
        parcel.done.set_result(None)


def make(settings: Settings, context: Context) -> Output:
    """Raises OperatorError."""
    return Kafka(settings, context.log)
