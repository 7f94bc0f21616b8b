"""`[OUTPUT] Name opentelemetry`: logs by OTLP over HTTP, as Fluent Bit's output of that name."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from collector import compression
from collector.accessor import Accessor, read
from collector.config.kinds import Kind
from collector.config.schema import boolean, choice, integer, key, repeated
from collector.entries import unpack_entries
from collector.outputs.http import uri
from collector.outputs.http_client import HeaderSettings, HttpOutput
from collector.outputs.otlp import Mapping, refused, request
from collector.outputs.parts import Parts, TooLarge, rejection
from collector.plugin import Output, Rejected

if TYPE_CHECKING:
    from collector.context import Context
    from collector.delivery.chunk import Chunk, Packed

SUMMARY = "Sends records as logs to an OpenTelemetry collector (OTLP over HTTP)."


def _read_label(written: str) -> tuple[str, str]:
    name, *value = written.split(maxsplit=1)
    if not value:
        raise ValueError("expected a name and a value.")
    return name, value[0]


label: Kind[tuple[str, str]] = Kind("name and value", _read_label, show=" ".join)
accessor: Kind[Accessor] = Kind("key, or $nested['keys']", read, show=lambda value: f"${value.name}")


@dataclass(frozen=True)
class Settings(HeaderSettings):
    """Keys of [OUTPUT] Name opentelemetry."""

    logs_uri: str = key("logs_uri", uri, default="/v1/logs", help="Path to send to.")
    compress: str | None = key(
        "Compress",
        choice("gzip", "zstd"),
        default=None,
        help="How requests are compressed; none where unset.",
    )
    batch_size: int = key("batch_size", integer(1), default="1000", help="Most records in a request.")
    add_label: tuple[tuple[str, str], ...] = key(
        "add_label", repeated(label), default=(), help="An attribute of the resource, as `name value`."
    )
    logs_body_key: tuple[Accessor, ...] = key(
        "logs_body_key",
        repeated(accessor),
        default=(read("$log"), read("$message")),
        help="Value that is the body: the first that is there, the whole record where none is.",
    )
    logs_body_key_attributes: bool = key(
        "logs_body_key_attributes",
        boolean,
        default="Off",
        help="The rest of such a record becomes attributes.",
    )
    severity_text: Accessor = key(  # noqa: RUF009
        "logs_severity_text_message_key",
        accessor,
        default="$severityText",
        help="Value that is the severity.",
    )
    severity_number: Accessor = key(  # noqa: RUF009
        "logs_severity_number_message_key",
        accessor,
        default="$severityNumber",
        help="Value that is its number.",
    )
    trace_id: Accessor = key(  # noqa: RUF009
        "logs_trace_id_message_key", accessor, default="$traceId", help="Value that is the trace's id."
    )
    span_id: Accessor = key(  # noqa: RUF009
        "logs_span_id_message_key", accessor, default="$spanId", help="Value that is the span's id."
    )

    def __post_init__(self) -> None:
        compression.require(self.compress)
        super().__post_init__()

    @property
    def mapping(self) -> Mapping:
        return Mapping(
            bodies=self.logs_body_key,
            rest_as_attributes=self.logs_body_key_attributes,
            severity_text=self.severity_text,
            severity_number=self.severity_number,
            trace_id=self.trace_id,
            span_id=self.span_id,
        )


class OpenTelemetry(HttpOutput):
    """Requests of `batch_size` records each."""

    def __init__(self, settings: Settings, log: logging.Logger) -> None:
        super().__init__(settings, log)
        self._settings = settings
        self._mapping = settings.mapping
        self._done: Parts[_Done] = Parts()

    async def _deliver(self, chunk: Chunk) -> None:
        own = self._settings
        try:
            requests = await asyncio.to_thread(
                requests_of, chunk.entries, self._mapping, own.add_label, own.batch_size
            )
        except ValueError as reason:
            raise Rejected(str(reason)) from None
        done = self._done.take(chunk.id) or _Done()
        headers = [("Content-Type", "application/x-protobuf"), *own.headers]
        try:
            for body in requests[done.requests :]:
                response = await self._client.send(own.logs_uri, body, headers, compress=own.compress or "")
                count, said = refused(response.body)
                done = _Done(done.requests + 1, done.refused + count, done.reason or said)
        except TooLarge:
            raise  # all of it comes again in halves: some records twice rather than none
        except Rejected as reason:
            # The request that was refused and those that were not sent; the ones before are there.
            left = range(done.requests * own.batch_size, chunk.records)
            raise rejection(chunk, left, self._client.endpoint, str(reason)) from None
        except BaseException:
            self._done.keep(chunk.id, done)
            raise
        if done.refused:
            why = f"{self._client.endpoint} refused {done.refused} of {chunk.records} records: {done.reason}"
            # Which ones the protocol does not tell.
            raise Rejected(why, records=min(done.refused, chunk.records))


@dataclass(frozen=True, slots=True)
class _Done:
    """Of a chunk: how many of its requests were answered, and what was refused in them."""

    requests: int = 0
    refused: int = 0
    reason: str = ""


def requests_of(
    entries: Packed, mapping: Mapping, attributes: tuple[tuple[str, str], ...], batch_size: int
) -> list[bytes]:
    """A chunk's requests. Raises ValueError for entries that are none."""
    now_ns = time.time_ns()
    records = [mapping.log_record(time_ns, now_ns, pairs) for time_ns, pairs in unpack_entries(entries)]
    return [
        request(attributes, records[begin : begin + batch_size])
        for begin in range(0, len(records), batch_size)
    ]


def make(settings: Settings, context: Context) -> Output:
    return OpenTelemetry(settings, context.log)
