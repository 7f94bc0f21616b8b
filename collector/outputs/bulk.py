"""Bulk requests of Elasticsearch and OpenSearch: what `es` and `opensearch` have in common.

A request is a line for the action and a line for the record, for each record. The
answer tells of each record what became of it: those that were refused for now
are sent again, alone; those refused for good are given up, and the rest is there.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import msgspec

from collector.accessor import ABSENT, Template, read
from collector.config.kinds import Kind
from collector.config.schema import boolean, choice, integer, key, text
from collector.entries import Pairs, spans, unpack_entries
from collector.outputs.http_client import HeaderSettings, HttpOutput
from collector.outputs.parts import Parts, TooLarge, rejection
from collector.outputs.text import as_json
from collector.plugin import DeliveryError, Rejected

if TYPE_CHECKING:
    from collector.delivery.chunk import Chunk

# An answer tells of each record, in some 100 bytes when it is refused.
ANSWER_BYTES = 16 << 20

# All that is asked of an answer, which otherwise repeats index, id and more of each record.
_FILTER = "filter_path=errors,items.*.status,items.*.error.type,items.*.error.reason"
_CONFLICT = 409  # with `create`: it is there already, by an earlier attempt


def _read_accessor(written: str) -> Any:
    return read(written)


accessor: Kind[Any] = Kind("key, or $nested['keys']", _read_accessor, show=lambda value: "")
template: Kind[Template] = Kind("text with $keys", Template.read, show=lambda value: "")


@dataclass(frozen=True)
class BulkSettings(HeaderSettings):
    """Keys of both outputs."""

    port: int = key("Port", integer(1, 65535), default="9200", help="Server's port.")
    path: str = key("Path", text, default="", help="What comes before `/_bulk`, behind a proxy for example.")
    pipeline: str = key("Pipeline", text, default="", help="Ingest pipeline that records go through.")
    compress: str | None = key(
        "Compress", choice("gzip"), default=None, help="gzip: requests are sent compressed."
    )
    index: str = key(
        "Index",
        text,
        default="fluent-bit",
        help="Index; with Current_Time_Index a form of time: `app-%Y.%m`.",
    )
    type: str = key("Type", text, default="_doc", help="Type of documents, for servers before version 7.")
    suppress_type_name: bool = key(
        "Suppress_Type_Name",
        boolean,
        default="Off",
        help="Leave the type out, which Elasticsearch 8 and OpenSearch 2 demand.",
    )
    logstash_format: bool = key(
        "Logstash_Format", boolean, default="Off", help="Name indices by prefix and day, as Logstash does."
    )
    logstash_prefix: str = key(
        "Logstash_Prefix", text, default="logstash", help="What such a name begins with."
    )
    logstash_prefix_key: Any = key(  # noqa: RUF009
        "Logstash_Prefix_Key", accessor, default=None, help="Value of the record to begin it with instead."
    )
    logstash_prefix_separator: str = key(
        "Logstash_Prefix_Separator", text, default="-", help="What stands between prefix and day."
    )
    logstash_date_format: str = key(
        "Logstash_DateFormat", text, default="%Y.%m.%d", help="How the day is written (strftime)."
    )
    target_index: Template | None = key(  # noqa: RUF009
        "Target_Index",
        template,
        default=None,
        help="Index made of values of the record; Index where it lacks one.",
    )
    current_time_index: bool = key(
        "Current_Time_Index",
        boolean,
        default="Off",
        help="Name indices by the time of sending, not the record's.",
    )
    time_key: str = key("Time_Key", text, default="@timestamp", help="What the time is called in the record.")
    time_key_format: str = key(
        "Time_Key_Format",
        text,
        default="%Y-%m-%dT%H:%M:%S",
        help="How it is written, its fraction apart (strftime).",
    )
    time_key_nanos: bool = key(
        "Time_Key_Nanos", boolean, default="Off", help="Nine digits of fraction, not three."
    )
    include_tag_key: bool = key("Include_Tag_Key", boolean, default="Off", help="Add the tag to records.")
    tag_key: str = key("Tag_Key", text, default="flb-key", help="What it is called there.")
    generate_id: bool = key(
        "Generate_ID",
        boolean,
        default="Off",
        help="Give each record an id made of its time, content and tag: sent twice, it is stored once.",
    )
    id_key: Any = key(  # noqa: RUF009
        "Id_Key", accessor, default=None, help="Value of the record that is its id."
    )
    write_operation: str = key(
        "Write_Operation",
        choice("create", "index", "update", "upsert"),
        default="create",
        help="What is done with a record; update and upsert need an id.",
    )
    replace_dots: bool = key(
        "Replace_Dots", boolean, default="Off", help="Dots in names of fields become `_`."
    )
    trace_error: bool = key(
        "Trace_Error", boolean, default="Off", help="Log what the server says of each record that it refuses."
    )

    def __post_init__(self) -> None:
        if self.write_operation in ("update", "upsert") and not (self.generate_id or self.id_key):
            raise ValueError(
                f"has Write_Operation {self.write_operation}, which needs Id_Key or Generate_ID."
            )
        super().__post_init__()


def documents(chunk: Chunk, settings: BulkSettings, now_ns: int) -> Iterator[str]:
    """Both lines of each record. Raises ValueError for entries that are none."""
    writer = _Writer(settings, chunk.tag, now_ns)
    raw = spans(chunk.entries) if settings.generate_id else None
    seen: Counter[bytes] = Counter()
    for time_ns, pairs in unpack_entries(chunk.entries):
        ident = ""
        if raw is not None:
            ident = _ident(chunk.tag, next(raw), seen)
        yield writer.lines(time_ns, pairs, ident)


def _ident(tag: str, entry: bytes, seen: Counter[bytes]) -> str:
    """The same for the same record, however chunks are cut; those that are alike in a chunk differ."""
    digest = hashlib.blake2b(
        entry, digest_size=16, key=hashlib.sha256(tag.encode("utf-8", "replace")).digest()
    )
    seen[digest.digest()] += 1
    times = seen[digest.digest()]
    return digest.hexdigest() if times == 1 else f"{digest.hexdigest()}-{times}"


class _Writer:
    """Makes the lines of one chunk's records."""

    def __init__(self, settings: BulkSettings, tag: str, now_ns: int) -> None:
        self._own = settings
        self._tag = tag
        self._now_ns = now_ns

    def lines(self, time_ns: int, pairs: Pairs, generated_id: str) -> str:
        own = self._own
        target: dict[str, str] = {"_index": self._index(time_ns, pairs)}
        if not own.suppress_type_name:
            target["_type"] = own.type
        ident = self._id(pairs) or generated_id
        if ident:
            target["_id"] = ident
        action = "update" if own.write_operation == "upsert" else own.write_operation
        return f"{json.dumps({action: target})}\n{self._document(time_ns, pairs)}\n"

    def _index(self, time_ns: int, pairs: Pairs) -> str:
        own = self._own
        moment = datetime.fromtimestamp((self._now_ns if own.current_time_index else time_ns) / 1e9, UTC)
        if own.logstash_format:
            prefix = own.logstash_prefix
            if own.logstash_prefix_key is not None:
                prefix = _scalar(own.logstash_prefix_key.value(pairs)) or prefix
            return (
                f"{prefix}{own.logstash_prefix_separator}{moment.strftime(own.logstash_date_format)}".lower()
            )
        if own.target_index is not None and (name := own.target_index.fill(self._tag, pairs)):
            return name.lower()
        return moment.strftime(own.index) if own.current_time_index else own.index

    def _id(self, pairs: Pairs) -> str:
        return _scalar(self._own.id_key.value(pairs)) if self._own.id_key is not None else ""

    def _document(self, time_ns: int, pairs: Pairs) -> str:
        own = self._own
        added = [(own.time_key, self._time(time_ns))]
        if own.include_tag_key:
            added.append((own.tag_key, self._tag))
        names = {name for name, _ in added}
        # Elasticsearch refuses a document that has a key twice: of repeated ones the last counts.
        record = {name: value for name, value in pairs if name not in names}
        found = [*added, *record.items()]
        document = as_json(_without_dots(found) if own.replace_dots else found)
        if own.write_operation == "update":
            return f'{{"doc":{document}}}'
        return f'{{"doc_as_upsert":true,"doc":{document}}}' if own.write_operation == "upsert" else document

    def _time(self, time_ns: int) -> str:
        own = self._own
        written = datetime.fromtimestamp(time_ns // 10**9, UTC).strftime(own.time_key_format)
        fraction_ns = time_ns % 10**9
        return (
            f"{written}.{fraction_ns:09}Z" if own.time_key_nanos else f"{written}.{fraction_ns // 10**6:03}Z"
        )


def _without_dots(pairs: Iterable[tuple[Any, Any]]) -> Pairs:
    return [
        (
            name.replace(".", "_") if isinstance(name, str) else name,
            dict(_without_dots(value.items())) if isinstance(value, dict) else value,
        )
        for name, value in pairs
    ]


def _scalar(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return str(value) if isinstance(value, str | int) and value is not ABSENT else ""


class _Error(msgspec.Struct):
    type: str | None = None
    reason: str | None = None


class _Outcome(msgspec.Struct):
    status: int
    error: _Error | str | None = None

    @property
    def is_stored(self) -> bool:
        return self.status < 300 or self.status == _CONFLICT

    @property
    def is_transient(self) -> bool:
        return self.status == 429 or self.status >= 500

    def __str__(self) -> str:
        if isinstance(self.error, _Error):
            return f"{self.status} {self.error.type}: {self.error.reason}"
        return f"{self.status} {self.error or ''}".rstrip()


class _Answer(msgspec.Struct):
    errors: bool
    items: list[dict[str, _Outcome]] = msgspec.field(default_factory=list)


def outcomes(body: bytes, sent: int) -> list[_Outcome] | None:
    """What became of each record; None: all are stored. Raises DeliveryError for what is no such answer."""
    try:
        answer = msgspec.json.decode(body, type=_Answer)
    except msgspec.DecodeError as reason:
        raise DeliveryError(f"the answer to a bulk request can't be read: {reason}") from None
    if not answer.errors:
        return None
    found = [outcome for item in answer.items for outcome in item.values()]
    if len(found) != sent:
        raise DeliveryError(f"the answer to a bulk request of {sent} records tells of {len(found)}")
    return found


class Bulk(HttpOutput):
    """A request for each chunk, and further ones for records that were put off."""

    def __init__(self, settings: BulkSettings, log: logging.Logger) -> None:
        super().__init__(settings, log, ANSWER_BYTES)
        self._settings = settings
        self._log = log
        self._parts: Parts[_Part] = Parts()
        pipeline = f"&pipeline={quote(settings.pipeline, safe='')}" if settings.pipeline else ""
        self._path = f"{settings.path.rstrip('/')}/_bulk?{_FILTER}{pipeline}"

    async def _deliver(self, chunk: Chunk) -> None:
        try:
            lines = await asyncio.to_thread(lambda: list(documents(chunk, self._settings, time.time_ns())))
        except ValueError as reason:
            raise Rejected(str(reason)) from None
        part = self._parts.take(chunk.id) or _Part(list(range(len(lines))), [])
        try:
            found = await self._send("".join(lines[number] for number in part.open), len(part.open))
        except TooLarge:
            raise
        except Rejected as reason:
            raise rejection(chunk, [*part.refused, *part.open], self._client.endpoint, str(reason)) from None
        except BaseException:
            if len(part.open) < len(lines):
                self._parts.keep(chunk.id, part)
            raise
        if found is not None:
            self._sort_out(chunk, part, found)
        elif part.refused:
            raise rejection(chunk, part.refused, self._client.endpoint, part.reason)

    async def _send(self, lines: str, records: int) -> list[_Outcome] | None:
        response = await self._client.send(
            self._path,
            lines.encode(),
            [("Content-Type", "application/x-ndjson"), *self._settings.headers],
            compress=self._settings.compress or "",
        )
        return outcomes(response.body, records)

    def _sort_out(self, chunk: Chunk, part: _Part, found: Sequence[_Outcome]) -> None:
        again: list[int] = []
        refused = list(part.refused)
        reason, transient = part.reason, ""
        for number, outcome in zip(part.open, found, strict=True):
            if outcome.is_stored:
                continue
            if outcome.is_transient:
                again.append(number)
                transient = transient or str(outcome)
            else:
                refused.append(number)
                reason = reason or str(outcome)
            if self._settings.trace_error:
                self._log.error("record %d of a chunk of %s: %s", number, chunk.tag, outcome)
        if again:
            self._parts.keep(chunk.id, _Part(again, refused, reason))
            raise DeliveryError(f"{self._client.endpoint} has no room for {len(again)} records: {transient}")
        if refused:
            raise rejection(chunk, refused, self._client.endpoint, reason)


@dataclass(frozen=True, slots=True)
class _Part:
    """Of a chunk: the records that are still to be sent, and those that were refused for good."""

    open: list[int]
    refused: list[int]
    reason: str = ""
