"""`[OUTPUT] Name http`: a request for each chunk, as Fluent Bit's output of that name."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from collector import compression
from collector.config.kinds import Kind
from collector.config.schema import boolean, choice, key, text
from collector.outputs.http_client import HeaderSettings, HttpOutput, is_header_value, last_of_each
from collector.outputs.text import DATE_FORMATS, FORMATS, framed, json_objects
from collector.plugin import Output, Rejected

if TYPE_CHECKING:
    from collector.context import Context
    from collector.delivery.chunk import Chunk, Packed

SUMMARY = "Posts records to a web server."


def _read_path(written: str) -> str:
    if not written.isascii() or any(one.isspace() or not one.isprintable() for one in written):
        raise ValueError("expected the path of a URI, without spaces.")
    return written if written.startswith("/") else "/" + written


uri: Kind[str] = Kind("path", _read_path)


@dataclass(frozen=True)
class Settings(HeaderSettings):
    """Keys of [OUTPUT] Name http."""

    uri: str = key("URI", uri, default="/", help="Path to send to.")
    method: str = key("http_Method", choice("POST", "PUT"), default="POST", help="Method of the requests.")
    format: str = key(
        "Format",
        choice(*FORMATS, "msgpack", instead={"gelf": "GELF is not written: choose json."}),
        default="json",
        help="`json` an array a request, `json_lines` a line a record, `json_stream` records with nothing "
        "between them, `msgpack` entries as in a chunk.",
    )
    json_date_key: str = key(
        "json_date_key", text, default="date", help="What the time is called in JSON; `false` leaves it out."
    )
    json_date_format: str = key(
        "json_date_format", choice(*DATE_FORMATS), default="double", help="How the time is written in JSON."
    )
    compress: str | None = key(
        "Compress",
        choice("gzip", "zstd", instead={"snappy": "Snappy is not written: choose zstd."}),
        default=None,
        help="How requests are compressed; not at all where unset.",
    )
    header_tag: str = key(
        "header_tag", text, default="", help="Header that the tag is sent in; none where unset."
    )
    allow_duplicated_headers: bool = key(
        "allow_duplicated_headers",
        boolean,
        default="On",
        help="Whether headers of the same name are all sent; the last of them where not.",
    )

    def __post_init__(self) -> None:
        compression.require(self.compress)
        super().__post_init__()


class Http(HttpOutput):
    """A request for each chunk."""

    def __init__(self, settings: Settings, log: logging.Logger) -> None:
        super().__init__(settings, log)
        self._settings = settings
        self._log = log

    async def _deliver(self, chunk: Chunk) -> None:
        own = self._settings
        try:
            body = await asyncio.to_thread(body_of, chunk.entries, own)
        except ValueError as reason:
            raise Rejected(str(reason)) from None
        await self._client.send(
            own.uri, body, self._headers(chunk.tag), method=own.method, compress=own.compress or ""
        )

    def _headers(self, tag: str) -> list[tuple[str, str]]:
        own = self._settings
        kind = "application/msgpack" if own.format == "msgpack" else "application/json"
        headers = [("Content-Type", kind), *own.headers]
        if own.header_tag and is_header_value(tag):
            headers.append((own.header_tag, tag))
        elif own.header_tag:
            self._log.warning("the tag %r can't stand in a header: sent without", tag)
        return headers if own.allow_duplicated_headers else last_of_each(headers)


def body_of(entries: Packed, settings: Settings) -> bytes:
    """A request's body. Raises ValueError for entries that are none."""
    if settings.format == "msgpack":
        return bytes(entries)
    objects = json_objects(entries, settings.json_date_key, settings.json_date_format)
    return "".join(framed(objects, settings.format)).encode()


def make(settings: Settings, context: Context) -> Output:
    return Http(settings, context.log)
