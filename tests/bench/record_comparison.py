"""Every record that arrived beside what the log says, by json and msgpack and none of the product's code."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import msgpack

from tests.bench.node_host import kubernetes
from tests.bench.node_logs import PodLog


class Compared(NamedTuple):
    """`first_difference`: "" when all records that should be there are, in order and with this content."""

    records: int
    first_difference: str


def compare_all(kept: dict[Path, PodLog], node: str, extra: dict[str, str]) -> list[Compared]:
    """`kept`: file with the entries of a log as they arrived in order; `extra`: pairs of every record."""
    with ProcessPoolExecutor(len(os.sched_getaffinity(0))) as processes:
        count = len(kept)
        return list(processes.map(compare, kept.keys(), kept.values(), [node] * count, [extra] * count))


def compare(entries: Path, log: PodLog, node: str, extra: dict[str, str]) -> Compared:
    constant = {"kubernetes": kubernetes(log, node), **extra}
    expected = expected_records(log.path, constant)
    records = 0
    with entries.open("rb") as file:
        for (time, found), wanted in zip(msgpack.Unpacker(file), expected, strict=False):
            if found != wanted or _text_of(time) != wanted["time"]:
                return Compared(records, f"record {records} of {log.path}: {found} and not {wanted}")
            records += 1
    missing = sum(1 for _ in expected)
    if missing or records != log.records:
        return Compared(records, f"{log.path} has {log.records} records, {records} arrived")
    return Compared(records, "")


def expected_records(path: Path, constant: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """multiline.parser cri, Merge_Log On, Keep_Log Off, in plain Python."""
    opened: dict[str, dict[str, Any]] = {}
    with path.open() as lines:
        for line in lines:
            time, stream, tag, text = line[:-1].split(" ", 3)
            record = opened.setdefault(stream, {"time": time, "stream": stream, "_p": tag, "log": ""})
            record["log"] += text
            if tag == "F":
                del opened[stream]
                yield _merged(record) | constant


def _merged(record: dict[str, Any]) -> dict[str, Any]:
    if not record["log"].startswith("{"):
        return record
    lifted = json.loads(record.pop("log"))
    return {**record, **lifted}


def _text_of(time: msgpack.ExtType) -> str:
    """As containerd writes it: a fraction without zeros at its end."""
    seconds, nanoseconds = int.from_bytes(time.data[:4], "big"), int.from_bytes(time.data[4:], "big")
    whole = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{whole}.{f'{nanoseconds:09d}'.rstrip('0') or '0'}Z"
