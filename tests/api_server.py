"""A Kubernetes API server for tests: lists in pages, watches, bookmarks, and errors as the real one's.

Objects and the 410 are recorded from a real one (tests/golden/kubernetes). It is
no fake of what the collector does, only of the cluster: HTTP, TLS and tokens are
real. `requests` are the paths that were asked for, in order. What is put into it are
pods, or events.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import json
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

GOLDEN = Path(__file__).parent / "golden" / "kubernetes"
EXPIRED = (GOLDEN / "watch-410.jsonl").read_bytes()
Object = dict[str, Any]


def recorded(name: str) -> list[Object]:
    """The items of a recorded list."""
    items: list[Object] = json.loads((GOLDEN / f"{name}.json").read_bytes())["items"]
    return items


class ApiServer:
    """`tokens`: those that are accepted; empty: anybody is."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.tokens: set[str] = set()
        self.requests: list[str] = []
        self.fails: dict[str, tuple[int, str]] = {}  # beginning of a path -> status and message
        self.is_mute = False  # takes requests and does not answer
        self.ends_watches = False  # at once, with nothing in them, as a proxy may
        self.expires_watches = False  # whatever version they begin at
        self.sends_lines = False  # each in a chunk of its own
        self.page: int | None = None  # a smaller page than was asked for
        self.changed = asyncio.Condition()
        self.watches = 0
        self.port = 0
        self._tls = tls
        self._pods: dict[tuple[str, str], Object] = {}
        self._others: dict[str, Object] = {}  # path -> object
        self._log: list[tuple[int, str, Object]] = []
        self._version = 1000
        self._oldest = 0
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None

    # ---- the cluster

    async def put(self, pod: Object) -> None:
        names = (pod["metadata"]["namespace"], pod["metadata"]["name"])
        kind = "MODIFIED" if names in self._pods else "ADDED"
        await self._happen(kind, pod)
        self._pods[names] = pod

    async def delete(self, namespace: str, name: str) -> None:
        await self._happen("DELETED", self._pods.pop((namespace, name)))

    async def bookmark(self) -> None:
        await self._happen("BOOKMARK", {"kind": "Pod", "apiVersion": "v1", "metadata": {}})

    async def _happen(self, kind: str, event_object: Object) -> None:
        async with self.changed:
            self.append(kind, event_object)
            self.changed.notify_all()

    def append(self, kind: str, event_object: Object) -> None:
        """One change more, which watches see when `changed` is notified."""
        self._version += 1
        event_object["metadata"]["resourceVersion"] = str(self._version)
        self._log.append((self._version, kind, copy.deepcopy(event_object)))

    def put_other(self, path: str, one: Object) -> None:
        """A namespace, a Job."""
        self._others[path] = one

    def compact(self) -> None:
        """The server forgets what has happened so far."""
        self._oldest = self._version

    def restore(self, version: int) -> None:
        """Its store is what it was at that version, from a backup; what is there now came otherwise."""
        self._version = version
        self._log.clear()
        for one in self._pods.values():
            one["metadata"]["resourceVersion"] = str(version)

    async def asked(self, beginning: str, times: int = 1) -> None:
        """Returns when so many requests for such a path have come."""
        async with self.changed:
            await self.changed.wait_for(
                lambda: sum(one.startswith(beginning) for one in self.requests) >= times
            )

    async def watched(self, times: int = 1) -> None:
        """Returns when so many watches are open."""
        async with self.changed:
            await self.changed.wait_for(lambda: self.watches >= times)

    async def cut_off(self) -> None:
        """Drops every connection."""
        async with self.changed:
            for writer in tuple(self._writers):
                writer.transport.abort()
            self.changed.notify_all()

    # ---- serving

    async def start(self, port: int = 0) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", port, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        await self.cut_off()
        await self._server.wait_closed()

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            await self._answer(head, writer)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _answer(self, head: str, writer: asyncio.StreamWriter) -> None:
        target = head.split(" ")[1]
        async with self.changed:
            self.requests.append(target)
            self.changed.notify_all()
        if self.is_mute:
            await asyncio.Event().wait()
        token = next((one[22:] for one in head.split("\r\n") if one.startswith("Authorization: Bearer ")), "")
        refusal = next((one for path, one in self.fails.items() if target.startswith(path)), None)
        if self.tokens and token not in self.tokens:
            refusal = (401, "Unauthorized")
        if refusal is not None:
            await _send(writer, refusal[0], _status(*refusal))
            return
        url = urlsplit(target)
        query = {key: values[0] for key, values in parse_qs(url.query).items()}
        if query.get("watch"):
            await self._watch(query, writer)
        elif url.path.endswith(("/pods", "/events")):
            await _send(writer, *self._list(query))
        else:
            await _send(writer, *self._get(url.path))

    def _selected(self, query: dict[str, str]) -> list[Object]:
        node = query.get("fieldSelector", "").partition("spec.nodeName=")[2]
        return [one for _, one in sorted(self._pods.items()) if _is_of(node, one)]

    def _list(self, query: dict[str, str]) -> tuple[int, Object]:
        pods = self._selected(query)
        limit = self.page or int(query.get("limit", len(pods) or 1))
        version, first = str(self._version), 0
        if "continue" in query:
            version, first = query["continue"].split("/")[0], int(query["continue"].split("/")[1])
            if int(version) < self._oldest:
                return 410, _status(410, "The provided continue parameter is too old", "Expired")
        metadata = {"resourceVersion": version}
        if first + limit < len(pods):
            metadata["continue"] = f"{version}/{first + limit}"
        items = pods[first : first + limit]
        return 200, {"kind": "PodList", "apiVersion": "v1", "metadata": metadata, "items": items}

    def _get(self, path: str) -> tuple[int, Object]:
        parts = path.split("/")
        found = self._others.get(path)
        if path.startswith("/api/v1/namespaces/") and len(parts) == 7:
            found = self._pods.get((parts[4], parts[6]))
        if found is None:
            return 404, _status(404, f'"{parts[-1]}" not found', "NotFound")
        return 200, found

    async def _watch(self, query: dict[str, str], writer: asyncio.StreamWriter) -> None:
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        version = int(query["resourceVersion"])
        if version < self._oldest or self.ends_watches or self.expires_watches:
            if not self.ends_watches:
                await _chunk(writer, EXPIRED)
            writer.write(b"0\r\n\r\n")
            await writer.drain()
            return
        if version > self._version:
            # It says nothing of it, but bookmarks have its own.
            own = {"kind": "Pod", "apiVersion": "v1", "metadata": {"resourceVersion": str(self._version)}}
            await _chunk(writer, json.dumps({"type": "BOOKMARK", "object": own}).encode() + b"\n")
        node = query.get("fieldSelector", "").partition("spec.nodeName=")[2]
        async with self.changed:
            self.watches += 1
            self.changed.notify_all()
        try:
            while True:
                async with self.changed:
                    while self._version <= version and not writer.is_closing():
                        await self.changed.wait()
                    if writer.is_closing():
                        break
                    news = [one for one in self._log if one[0] > version]
                    version = self._version
                for _, kind, pod in news:
                    if kind == "BOOKMARK" or _is_of(node, pod):
                        line = json.dumps({"type": kind, "object": pod}).encode() + b"\n"
                        # The real one's chunks are lines; a proxy's are not.
                        pieces = (
                            (line,) if self.sends_lines else (line[: len(line) // 2], line[len(line) // 2 :])
                        )
                        for piece in pieces:
                            await _chunk(writer, piece)
        finally:
            async with self.changed:
                self.watches -= 1
                self.changed.notify_all()


def _is_of(node: str, one: Object) -> bool:
    """Whether a pod is of the node that was asked for. Nobody asks so for events."""
    return not node or bool(one["spec"]["nodeName"] == node)


def _status(code: int, message: str, reason: str = "") -> Object:
    return {
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "reason": reason, "code": code,
    }  # fmt: skip


async def _chunk(writer: asyncio.StreamWriter, data: bytes) -> None:
    writer.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
    await writer.drain()


async def _send(writer: asyncio.StreamWriter, status: int, body: Object) -> None:
    text = json.dumps(body).encode()
    head = f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {len(text)}\r\n\r\n"
    writer.write(head.encode() + text)
    await writer.drain()


@contextlib.asynccontextmanager
async def api_server(tls: ssl.SSLContext | None = None) -> AsyncIterator[ApiServer]:
    server = ApiServer(tls)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()
