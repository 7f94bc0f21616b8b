"""`[OUTPUT] Name file`: records appended to files, in the formats of Fluent Bit's output of that name."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from collector.accessor import ABSENT, names
from collector.config.schema import boolean, choice, key, text
from collector.entries import Pairs, unpack_entries
from collector.outputs.text import as_json, plain_text, printed, quoted, seconds
from collector.plugin import DeliveryError, Output, Rejected

if TYPE_CHECKING:
    from collector.context import Context
    from collector.delivery.chunk import Chunk, Packed

SUMMARY = "Appends records to files."
DELIMITERS = {"\\t": "\t", "tab": "\t", "space": " ", "comma": ","}
MAX_NAME_BYTES = 255  # of a file's name, on all file systems that matter


@dataclass(frozen=True, slots=True)
class Settings:
    path: str = key("Path", text, default="", help="Folder of the files; the working directory where unset.")
    file: str = key("File", text, default="", help="The file's name; the tag where unset.")
    format: str = key(
        "Format",
        choice("out_file", "plain", "csv", "ltsv", "template", "msgpack"),
        default="out_file",
        help="`out_file` is `tag: [time, {json}]`, `plain` the JSON alone, `msgpack` entries as in a chunk.",
    )
    template: str = key(
        "Template",
        text,
        default="{time} {message}",
        help="A line of Format template: `{name}` is a value of the record, `{time}` its time.",
    )
    mkdir: bool = key("Mkdir", boolean, default="Off", help="Whether the folder is made where it is missing.")
    delimiter: str | None = key(
        "Delimiter", choice(*DELIMITERS), default=None, help="Between fields: comma for csv, tab for ltsv."
    )
    label_delimiter: str | None = key(
        "Label_Delimiter",
        choice(":", *DELIMITERS),
        default=None,
        help="Between a field's name and its value in ltsv; `:` where unset.",
    )
    csv_column_names: bool = key(
        "csv_column_names", boolean, default="Off", help="Whether a new csv file begins with the keys."
    )


def file_name(tag: str) -> str:
    """A tag as a name in a folder, never a path out of it: tags are made of names of pods and files."""
    name = "".join(one if one not in "/\0" else "_" for one in tag)
    if name in ("", ".", ".."):
        return "_" + name
    raw = os.fsencode(name)
    if len(raw) <= MAX_NAME_BYTES:
        return name
    digest = hashlib.blake2b(raw, digest_size=8).hexdigest()
    return raw[: MAX_NAME_BYTES - 17].decode("utf-8", "ignore") + "-" + digest


def lines(chunk: Chunk, settings: Settings, *, new_file: bool) -> Iterator[str]:
    """The chunk's lines. Raises ValueError for entries that are none."""
    for number, (time_ns, pairs) in enumerate(unpack_entries(chunk.entries)):
        match settings.format:
            case "plain":
                yield as_json(pairs)
            case "csv":
                if settings.csv_column_names and new_file and number == 0:
                    yield _csv_header(pairs, settings)
                yield _csv(time_ns, pairs, settings)
            case "ltsv":
                yield _ltsv(time_ns, pairs, settings)
            case "template":
                yield _filled(settings.template, time_ns, pairs)
            case _:
                yield f"{quoted(chunk.tag)[1:-1]}: [{seconds(time_ns)}, {as_json(pairs)}]"


def _csv_header(pairs: Pairs, settings: Settings) -> str:
    return _delimiter(settings, ",").join(["timestamp", *(_cell(plain_text(name)) for name, _ in pairs)])


def _csv(time_ns: int, pairs: Pairs, settings: Settings) -> str:
    cells = [_cell(value) if isinstance(value, str) else printed(value) for _, value in pairs]
    return _delimiter(settings, ",").join([seconds(time_ns), *cells])


def _cell(value: str) -> str:
    # Quotes doubled (RFC 4180), where Fluent Bit leaves them and so lets a value end its cell.
    return '"' + quoted(value)[1:-1].replace('"', '""') + '"'


def _ltsv(time_ns: int, pairs: Pairs, settings: Settings) -> str:
    label = DELIMITERS.get(settings.label_delimiter or ":", ":")
    fields = [f'"time"{label}{seconds(time_ns)}']
    fields += [f"{quoted(name)}{label}{printed(value)}" for name, value in pairs]
    return _delimiter(settings, "\t").join(fields)


_PLACEHOLDER = re.compile(r"\{([^{}]+)\}")


def _filled(template: str, time_ns: int, pairs: Pairs) -> str:
    """The template with its values; a placeholder without one stays, as in Fluent Bit."""

    def value(found: re.Match[str]) -> str:
        if found[1] == "time":
            return seconds(time_ns)
        present = next((value for name, value in reversed(pairs) if names(name, found[1])), ABSENT)
        if present is ABSENT:
            return found[0]
        return quoted(present)[1:-1] if isinstance(present, str | bytes) else printed(present)

    return _PLACEHOLDER.sub(value, template)


def _delimiter(settings: Settings, default: str) -> str:
    return DELIMITERS[settings.delimiter] if settings.delimiter else default


class File:
    """Opens the file anew for each chunk, so that rotating it by renaming just works."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._turn = asyncio.Lock()

    async def deliver(self, chunk: Chunk) -> None:
        async with self._turn:
            await asyncio.to_thread(self._append, chunk)

    def _append(self, chunk: Chunk) -> None:
        settings = self._settings
        path = os.path.join(settings.path, settings.file or file_name(chunk.tag))
        try:
            if settings.mkdir and settings.path:
                os.makedirs(settings.path, mode=0o755, exist_ok=True)
            descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
            try:
                self._write(chunk, descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise DeliveryError(f"{path} can't be written: {error.strerror}") from None

    def _write(self, chunk: Chunk, descriptor: int) -> None:
        size = os.fstat(descriptor).st_size
        try:
            left = memoryview(self._content(chunk, new_file=size == 0))
        except ValueError as reason:
            raise Rejected(str(reason)) from None
        try:
            while left:
                left = left[os.write(descriptor, left) :]
        except OSError:
            # The whole chunk comes again: half of it must not stay (a full disk ends writes halfway).
            with contextlib.suppress(OSError):
                os.ftruncate(descriptor, size)
            raise

    def _content(self, chunk: Chunk, *, new_file: bool) -> Packed:
        if self._settings.format == "msgpack":
            return chunk.entries
        found = lines(chunk, self._settings, new_file=new_file)
        return "".join(f"{line}\n" for line in found).encode("utf-8", "backslashreplace")

    async def close(self) -> None:
        """Nothing is held open."""


def make(settings: Settings, context: Context) -> Output:
    return File(settings)
