"""An agent beside an API server over TLS: metadata from the first line on, an outage, a pod that changes."""

from __future__ import annotations

import asyncio
import copy
import itertools
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.agent.agent import Agent
from tests.api_server import ApiServer, recorded
from tests.certificates import Authority
from tests.polling import until

ID = "13cdfb4a12a5278da19acfa2eca5abca0f87f564a41be8d6ee75170063e41c51"
NODE = socket.gethostname().lower()
CONFIGURATION = """
[SERVICE]
    Flush 0.1
    Grace 5
    Log_Level info
    Host_Root {root}
[INPUT]
    Name tail
    Tag kube.*
    Path {root}/var/log/containers/*.log
    multiline.parser cri
    Read_from_Head On
[FILTER]
    Name kubernetes
    Match kube.*
    Kube_URL {url}
    Kube_CA_File {ca}
    Kube_Token_File {token}
    Kube_Tag_Prefix kube{prefix}.var.log.containers.
    Merge_Log On
    Keep_Log Off
[OUTPUT]
    Name stdout
    Match *
    Format json_lines
"""


class Cluster:
    """The server in a thread of its own."""

    def __init__(self, server: ApiServer, loop: asyncio.AbstractEventLoop) -> None:
        self.server = server
        self._loop = loop

    def do(self, make: Callable[[], Awaitable[None]]) -> None:
        async def run() -> None:
            await make()

        asyncio.run_coroutine_threadsafe(run(), self._loop).result(30)


@contextmanager
def cluster(authority: Authority) -> Iterator[Cluster]:
    server = ApiServer(authority.server_context())
    server.tokens = {"secret"}
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    one = Cluster(server, loop)
    one.do(server.start)
    try:
        yield one
    finally:
        one.do(server.stop)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def pod(number: int, **labels: str) -> dict[str, Any]:
    made = copy.deepcopy(
        next(one for one in recorded("pods") if one["metadata"]["name"] == "web-5c8c56666c-8w7j8")
    )
    made["metadata"].update(name=f"web-{number}", uid=f"0000000{number}-0000-4000-8000-000000000000")
    made["metadata"]["labels"].update(labels)
    made["spec"]["nodeName"] = NODE
    return made


class Log:
    """A container's log, as the kubelet lays it out."""

    def __init__(self, root: Path, number: int) -> None:
        directory = root / f"var/log/pods/shop_web-{number}_0000000{number}-0000-4000-8000-000000000000/httpd"
        directory.mkdir(parents=True)
        self._file = directory / "0.log"
        self._file.touch()
        links = root / "var/log/containers"
        links.mkdir(parents=True, exist_ok=True)
        (links / f"web-{number}_shop_httpd-{ID}.log").symlink_to(self._file)

    def write(self, text: str) -> None:
        with self._file.open("a") as file:
            file.write(f"2026-11-24T00:14:33.000000001Z stdout F {text}\n")


def test_metadata_outage_and_change(tmp_path: Path) -> None:
    authority = Authority.make(tmp_path / "ca")
    token = tmp_path / "token"
    token.write_text("secret")
    root = tmp_path / "root"
    with cluster(authority) as one:
        server = one.server
        one.do(lambda: server.put(pod(1)))
        configuration = tmp_path / "a.conf"
        prefix = str(root).replace("/", ".")
        configuration.write_text(
            CONFIGURATION.format(
                root=root, url=server.url, ca=authority.certificate, token=token, prefix=prefix
            )
        )
        first = Log(root, 1)
        first.write('{"n":1}')
        with Agent("-c", str(configuration)) as agent:
            agent.out.wait_for('"n":1')
            # The pod is made while its first line is there already: it waits for the watch.
            second = Log(root, 2)
            second.write('{"n":2}')
            one.do(lambda: server.put(pod(2)))
            agent.out.wait_for('"n":2')

            one.do(server.stop)
            first.write('{"n":3}')
            agent.out.wait_for('"n":3')
            agent.log.wait_for("it is asked again")
            one.do(lambda: server.put(pod(1, version="new")))
            one.do(lambda: server.start(server.port))
            agent.log.wait_for("answers again")
            one.do(server.watched)
            one.do(lambda: server.put(pod(1, version="newest")))
            write_until_newest(first, agent)
            assert agent.stop() == 0
            records = {record["n"]: record for record in agent.records()}
    check(records)


def write_until_newest(log: Log, agent: Agent) -> None:
    numbers = itertools.count(4)

    def is_newest() -> bool:
        log.write(f'{{"n":{next(numbers)}}}')
        return any("newest" in str(record) for record in agent.records())

    until(is_newest, "a line with the pod's last change")


def check(records: dict[int, Any]) -> None:
    kubernetes = {number: record["kubernetes"] for number, record in records.items()}
    assert list(kubernetes[1]) == [
        "pod_name", "namespace_name", "pod_id", "labels", "annotations", "host", "pod_ip",
        "container_name", "docker_id", "container_hash", "container_image",
    ]  # fmt: skip
    assert kubernetes[1]["labels"]["app"] == "web"
    assert (kubernetes[2]["pod_name"], kubernetes[3]["pod_name"]) == ("web-2", "web-1")
    assert kubernetes[3] == kubernetes[1]
    assert sorted(records) == list(range(1, max(records) + 1))
