"""Whom an agent on the node sends to, and what is expected there."""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import Callable
from typing import Any

from tests.containers.images import BUSYBOX
from tests.containers.node import Container, Pod
from tests.receiver import Receiver, receiving

CONFIGURATION = """
[SERVICE]
    Flush      1
    Host_Root  {root}
    # What the runtime adds comes a moment later: test_runtime_on_node.py.
    Cri_Socket off

[INPUT]
    Name              tail
    Tag               kube.*
    Path              {root}/var/log/containers/*.log
    multiline.parser  cri
    Read_from_Head    On

[INPUT]
    Name   ebpf
    Tag    kernel.*

[FILTER]
    Name       kubernetes
    Match      kube.*
    Merge_Log  On

[OUTPUT]
    Name   forward
    Match  *
    Host   127.0.0.1
    Port   {port}
    Require_ack_response  On
"""


class Aggregator:
    """A forward receiver in a thread of its own; records can be waited for."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._receiver = Receiver()
        self._end: asyncio.Event
        self._up = threading.Event()
        self._thread = threading.Thread(
            target=self._loop.run_until_complete, args=(self._serve(),), daemon=True
        )
        self._thread.start()
        assert self._up.wait(20)

    async def _serve(self) -> None:
        self._end = asyncio.Event()
        async with receiving(self._receiver) as receiver:
            self.port = receiver.port
            self._up.set()
            await self._end.wait()

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join(20)

    def wait_for(self, wanted: Callable[[str, dict[str, Any]], bool]) -> dict[str, Any]:
        """The first record for which `wanted(tag, record)` holds."""
        pending = asyncio.run_coroutine_threadsafe(self._wait_for(wanted), self._loop)
        return pending.result(40)

    def received(self, wanted: Callable[[str, dict[str, Any]], bool]) -> list[dict[str, Any]]:
        """All records so far for which it holds."""
        messages = list(self._receiver.received)
        pairs = [(each.tag, text_of(record)) for each in messages for _, record in each.entries]
        return [record for tag, record in pairs if wanted(tag, record)]

    async def _wait_for(self, wanted: Callable[[str, dict[str, Any]], bool]) -> dict[str, Any]:
        found = functools.partial(self._find, wanted)
        await self._receiver.wait_until(lambda: found() is not None, 30)
        record = found()
        assert record is not None
        return record

    def _find(self, wanted: Callable[[str, dict[str, Any]], bool]) -> dict[str, Any] | None:
        for message in self._receiver.received:
            for record in (text_of(record) for _, record in message.entries):
                if wanted(message.tag, record):
                    return dict(record)
        return None


def text_of(value: Any) -> Any:
    """What the receiver leaves as bytes, as text."""
    if isinstance(value, dict):
        return {text_of(key): text_of(content) for key, content in value.items()}
    if isinstance(value, list):
        return [text_of(one) for one in value]
    return value.decode() if isinstance(value, bytes) else value


def expected(pod: Pod, container: Container, node_name: str) -> dict[str, str]:
    return {
        "pod_name": pod.name,
        "namespace_name": pod.namespace,
        "pod_id": pod.uid,
        "host": node_name,
        "container_name": container.name,
        "docker_id": container.id,
        "container_image": BUSYBOX,
    }


def is_exec(argv: list[str]) -> Callable[[str, dict[str, Any]], bool]:
    def wanted(tag: str, record: dict[str, Any]) -> bool:
        is_one = tag == "kernel.process" and record["event"]["action"] == "exec"
        return is_one and record["process"].get("args") == argv

    return wanted
