"""The subcommand: `podwitness rejected FILE...` shows chunks that an output gave up."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgpack

from collector.delivery.rejected import SUFFIX
from collector.entries import unpack_entries

DESCRIPTION = f"""\
Prints the records of rejected chunks (storage.keep.rejected) as JSON lines. FILE is one of the files
*{SUFFIX} below storage.rejected.path, or that folder. Why each was given up is in reasons.jsonl beside them.
A file is a message of the forward protocol: to deliver it after all, send it as it is to any receiver of it,
such as the input `forward` of podwitness or of Fluent Bit, with `nc -N HOST 24224 < FILE` or, over TLS,
`openssl s_client -quiet -connect HOST:24224 < FILE`; then remove it."""


def main(arguments: Sequence[str] = ()) -> int:
    """The exit code: 1 where a file could not be read."""
    parser = argparse.ArgumentParser(
        "podwitness rejected", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("files", nargs="+", metavar="FILE", type=Path)
    failed = False
    for path in _files(parser.parse_args(list(arguments)).files):
        try:
            for row in rows(path.read_bytes()):
                print(json.dumps(row, default=_shown, ensure_ascii=True))
        except (OSError, ValueError, msgpack.UnpackException) as error:
            print(f"podwitness: {path} is no rejected chunk: {error}", file=sys.stderr)
            failed = True
    return int(failed)


def _files(named: Sequence[Path]) -> Iterator[Path]:
    for path in named:
        if path.is_dir():
            yield from sorted(path.glob(f"*{SUFFIX}"))
        else:
            yield path


def rows(message: bytes) -> Iterator[dict[str, Any]]:
    """Tag, time and record of each entry. Raises ValueError, msgpack.UnpackException."""
    found = msgpack.unpackb(message, unicode_errors="surrogateescape")
    if not isinstance(found, list) or len(found) < 2 or not isinstance(found[1], bytes):
        raise ValueError("it is no message in the mode PackedForward")
    for time_ns, pairs in unpack_entries(found[1]):
        when = datetime.fromtimestamp(time_ns / 1e9, UTC).isoformat(timespec="microseconds")
        yield {"tag": found[0], "time": when, "record": dict(pairs)}


def _shown(value: Any) -> str:
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)
