"""A line of docker's json-file as ext/docker.c reads it."""

from __future__ import annotations

from typing import Any, NamedTuple

from tests.reference.cri import parse_time
from tests.reference.json_msgpack import parse_object


class DockerLine(NamedTuple):
    time: bytes
    time_ns: int
    stream: bytes
    log: bytes
    pairs: list[tuple[str, Any]]


def parse_docker(line: bytes) -> DockerLine | None:
    """None: not an object with a log, a stream and a time as docker writes them."""
    found = parse_object(line.decode("utf-8", "surrogateescape")) if line.startswith(b"{") else None
    if found is None:
        return None
    first: dict[str, Any] = dict(reversed(found.pairs))
    log, stream, time = (first.get(key) for key in ("log", "stream", "time"))
    if not (isinstance(log, str) and isinstance(stream, str) and isinstance(time, str)):
        return None
    time_ns = parse_time(_bytes(time))
    if not log or stream not in ("stdout", "stderr") or time_ns is None:
        return None
    return DockerLine(_bytes(time), time_ns, stream.encode(), _bytes(log), found.pairs)


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
