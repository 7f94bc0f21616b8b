"""What the watch of a large node's pods costs: 500 pods known, 30 coming and going each second.

A pod that comes and goes is six changes: added, scheduled, running, two of its status, deleted. The server is
a process of its own and sends each when it is due, by TLS, as the real one does; the figure is CPU time of
those of one second. The limit is msgspec decoding the same lines to nothing but their kind.
"""

from __future__ import annotations

import asyncio
import copy
import json
import logging
import multiprocessing
import resource
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import msgspec

from collector.identity.table import IdentityTable
from collector.kubernetes.api import Api, read_url
from collector.kubernetes.credentials import Token
from collector.kubernetes.objects import Pod
from collector.kubernetes.watch import PodWatch
from collector.outputs.connector import NetworkSettings
from tests.api_server import ApiServer, recorded
from tests.bench.row import Row
from tests.certificates import Authority

PODS = 500
PER_SECOND = 30
SECONDS = 10
CHANGES = 6


class _Kind(msgspec.Struct):
    type: str


def pod(number: int, phase: int = 0) -> dict[str, Any]:
    """As recorded: 10 KB with its managedFields."""
    made = copy.deepcopy(recorded("pods")[-1])
    made["metadata"].update(name=f"web-{number}", uid=f"uid-{number}")
    made["status"]["podIP"] = f"10.1.{phase}.{number % 250}"
    return made


def changes() -> list[tuple[str, dict[str, Any]]]:
    made = []
    for number in range(PODS, PODS + PER_SECOND * SECONDS):
        phases = [("ADDED", pod(number))] + [
            ("MODIFIED", pod(number, phase)) for phase in range(1, CHANGES - 1)
        ]
        made += [*phases, ("DELETED", pod(number, CHANGES))]
    return [*made, ("ADDED", pod(-1))]


def serve(pipe: Connection, authority: Authority) -> None:
    """The server's process: answers with its port, sends the changes when it is told to begin."""

    async def work() -> None:
        server = ApiServer(authority.server_context())
        server.sends_lines = True
        for number in range(PODS):
            await server.put(pod(number))
        prepared = changes()
        await server.start()
        pipe.send(server.port)
        await server.watched()
        await asyncio.to_thread(pipe.recv)
        began_s = time.monotonic()
        for number, (kind, one) in enumerate(prepared):
            await asyncio.sleep(began_s + number / (PER_SECOND * CHANGES) - time.monotonic())
            async with server.changed:
                server.append(kind, one)
                server.changed.notify_all()
        await asyncio.to_thread(pipe.recv)

    asyncio.run(work())


def follow(port: int, certificate: str, answer: Connection) -> None:
    """The client's process, which has nothing else."""

    async def work() -> None:
        identities = IdentityTable("node1", None, None, None)  # type: ignore[arg-type]
        done = asyncio.Event()
        first_s: list[float] = []

        def learned(one: Pod) -> None:
            if one.name == f"web-{PODS}" and not first_s:
                first_s.append(time.process_time())
            if one.name == "web--1":
                done.set()

        identities.pods.learned.append(learned)
        network = NetworkSettings(tls=True, verify=True, ca_file=certificate)
        api = Api(read_url(f"https://127.0.0.1:{port}"), network, Token("", "", 600), logging.getLogger())
        watch = PodWatch(
            api, identities.pods, "node1",
            count=lambda *_: None, report=lambda *_: None, log=logging.getLogger(),
        )  # fmt: skip
        before = resident_bytes()
        task = asyncio.create_task(watch.run())
        began_s = time.process_time()
        await watch.is_listed.wait()
        listed_s, listed = time.process_time() - began_s, resident_bytes() - before
        answer.send("go")
        await done.wait()
        answer.send((listed_s, listed, time.process_time() - first_s[0], resident_bytes() - before))
        task.cancel()

    asyncio.run(work())


def resident_bytes() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


def bare() -> float:
    """CPU seconds for a second's lines."""
    lines = [json.dumps({"type": kind, "object": one}).encode() for kind, one in changes()]
    decoder = msgspec.json.Decoder(_Kind)
    began_s = time.process_time()
    for line in lines:
        decoder.decode(line)
    return (time.process_time() - began_s) / SECONDS


def run() -> list[Row]:
    with tempfile.TemporaryDirectory() as folder:
        return measured(Authority.make(Path(folder)))


def measured(authority: Authority) -> list[Row]:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    server = context.Process(target=serve, args=(theirs, authority))
    server.start()
    answers, client_end = context.Pipe()
    client = context.Process(target=follow, args=(ours.recv(), str(authority.certificate), client_end))
    client.start()
    answers.recv()
    ours.send("go")
    listed_s, listed_bytes, churned_s, churned_bytes = answers.recv()
    client.join()
    ours.send("end")
    server.join()
    return [
        Row(f"{PODS} pods listed", listed_s * 1000, "ms CPU"),
        Row(f"{PODS} pods known", listed_bytes / 2**20, "MiB"),
        Row(
            f"{PER_SECOND} pods come and go each second",
            churned_s / SECONDS * 100,
            "% of a core",
            "the kind of each change decoded",
            bare() * 100,
        ),
        Row(f"{PER_SECOND * SECONDS} pods gone, still known", churned_bytes / 2**20, "MiB"),
    ]
