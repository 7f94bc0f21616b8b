"""`[OUTPUT] Name file`: records appended to files, in the formats of Fluent Bit's output of that name."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from collector.config.schema import boolean, choice, key, text
from collector.entries import unpack_entries
from collector.outputs.text import as_json, plain_text, printed, quoted, seconds
from collector.plugin import DeliveryError, Output, Pairs, Rejected

if TYPE_CHECKING:
    from collector.context import Context
    from collector.delivery.chunk import Chunk

SUMMARY = "Appends records to files."
DELIMITERS = {"\\t": "\t", "tab": "\t", "space": " ", "comma": ","}
MAX_NAME_BYTES = 255  # of a file's name, on all file systems that matter


@dataclass(frozen=True, slots=True)
class Settings:
    path: str = key("Path", text, default="", help="Folder of the files; the working directory where unset.")
    file: str = key("File", text, default="", help="The file's name; the tag where unset.")
    format: str = key(
        "Format",
        choice("out_file", "plain", "csv", "ltsv"),
        default="out_file",
        help="`out_file` is `tag: [time, {json}]`, `plain` the JSON alone.",
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
            found = list(lines(chunk, self._settings, new_file=size == 0))
        except ValueError as reason:
            raise Rejected(str(reason)) from None
        left = memoryview("".join(f"{line}\n" for line in found).encode("utf-8", "backslashreplace"))
        try:
            while left:
                left = left[os.write(descriptor, left) :]
        except OSError:
            # The whole chunk comes again: half of it must not stay (a full disk ends writes halfway).
            with contextlib.suppress(OSError):
                os.ftruncate(descriptor, size)
            raise

    async def close(self) -> None:
        """Nothing is held open."""


def make(settings: Settings, context: Context) -> Output:
    return File(settings)
