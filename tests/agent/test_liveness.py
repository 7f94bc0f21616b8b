"""What makes a running agent unready, unhealthy or dead: each cause is brought about."""

from __future__ import annotations

import asyncio
import contextlib
import http.server
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgpack
import pytest

from tests.agent.agent import Agent, get
from tests.agent.held_reads import HeldReads
from tests.agent.test_run_lifecycle import EBPF, WITHOUT_BPF, configuration, free_port
from tests.api_server import ApiServer, api_server, recorded
from tests.journal_files import export, write_journal
from tests.polling import throughout, until

NULL = "[OUTPUT]\n    Name null\n    Match *\n"


class Aggregator(http.server.ThreadingHTTPServer):
    """Answers with `status`, once `answers` is set."""

    daemon_threads = True

    def __init__(self) -> None:
        self.status = 200
        self.answers = threading.Event()
        self.answers.set()
        super().__init__(("127.0.0.1", 0), Answer)


class Answer(http.server.BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        assert isinstance(self.server, Aggregator)
        self.server.answers.wait(60)
        self.send_response(self.server.status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Nothing on standard error."""


@pytest.fixture
def aggregator() -> Iterator[Aggregator]:
    with Aggregator() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.answers.set()
        server.shutdown()


def service(port: int, **keys: object) -> str:
    http_keys = {"HTTP_Server": "On", "HTTP_Listen": "127.0.0.1", "HTTP_Port": port, "Health_Check": "On"}
    given = {"Flush": 0.1, **http_keys, **{name.replace("_dot_", "."): keys[name] for name in keys}}
    return "[SERVICE]\n" + "".join(f"    {name} {value}\n" for name, value in given.items())


def tail(folder: Path) -> str:
    keys = (f"Path {folder}/*.log", "Tag logs", "Read_from_Head On", "Refresh_Interval 1")
    return "[INPUT]\n    Name tail\n" + "".join(f"    {key}\n" for key in keys)


def to(port: int, **keys: object) -> str:
    more = "".join(f"    {name} {value}\n" for name, value in keys.items())
    return f"[OUTPUT]\n    Name http\n    Match logs\n    Host 127.0.0.1\n    Port {port}\n{more}"


def answers(port: int) -> tuple[int, int, int, int]:
    """Status of /livez, /readyz and the two pages of health."""
    live, ready, v1, v2 = (
        get(port, path)[0] for path in ("/livez", "/readyz", "/api/v1/health", "/api/v2/health")
    )
    return live, ready, v1, v2


WELL, UNWELL = (200, 200, 200, 200), (200, 503, 500, 500)


@contextlib.contextmanager
def running(folder: Path, *sections: str, prefix: tuple[str, ...] = ()) -> Iterator[Agent]:
    with Agent("-c", configuration(folder, *sections), prefix=prefix) as agent:
        agent.wait_until_running()
        yield agent


def counted(port: int, name: str, labels: str = '{name="http.0"}') -> float:
    lines = get(port, "/metrics")[1].splitlines()
    return next((float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name + labels)), 0.0)


def test_an_output_that_holds_an_input_up_for_the_others(tmp_path: Path) -> None:
    port = free_port()
    sections = (service(port), tail(tmp_path), to(free_port(), Retry_Limit="no_limits"), NULL)
    with running(tmp_path, *sections) as agent:
        with open(tmp_path / "a.log", "w") as log:
            log.writelines("x" * 1000 + "\n" for _ in range(40_000))
        agent.log.wait_for("tail.0 stands still because http.0 takes nothing .* nor does null.0 get it")
        health = get(port, "/api/v2/health")[1]
        assert "tail.0 stands still because http.0" in health
        assert counted(port, "podwitness_stalled_seconds", '{name="tail.0"}') > 0
        assert counted(port, "fluentbit_input_ingestion_paused", '{name="tail.0"}') == 1


@pytest.mark.parametrize(
    ("limit", "counter", "status"),
    [
        ("HC_Errors_Count", "fluentbit_output_errors_total", 400),
        ("HC_Retry_Failure_Count", "fluentbit_output_retries_failed_total", 500),
    ],
)
def test_failures_beyond_the_limit_until_the_period_is_over(
    tmp_path: Path, aggregator: Aggregator, limit: str, counter: str, status: int
) -> None:
    port = free_port()
    aggregator.status = status
    sections = (
        service(port, HC_Period=5, **{limit: 2}),
        tail(tmp_path),
        to(aggregator.server_port, Retry_Limit="no_retries"),
    )
    with running(tmp_path, *sections), (tmp_path / "a.log").open("w") as log:
        for count in (1, 2, 3):
            print("line", count, file=log, flush=True)
            until(lambda: counted(port, counter) >= count)  # noqa: B023
            assert answers(port) == (WELL if count < 3 else UNWELL), count
        assert ("3 errors and 0" if status == 400 else "0 errors and 3") in get(port, "/readyz")[1]
        until(lambda: answers(port) == WELL)


def test_an_aggregator_that_takes_nothing_is_no_reason_to_restart(
    tmp_path: Path, aggregator: Aggregator
) -> None:
    port = free_port()
    aggregator.answers.clear()
    sections = (service(port, Stall_Timeout=0.5), tail(tmp_path), to(aggregator.server_port))
    (tmp_path / "a.log").write_text("line\n")
    with running(tmp_path, *sections):
        until(lambda: answers(port)[1] == 503)
        assert "http.0: for " in get(port, "/readyz")[1]
        assert "its oldest chunk waits: no delivery has succeeded" in get(port, "/readyz")[1]
        assert answers(port) == (200, 503, 200, 200)
        assert counted(port, "podwitness_stalled_seconds") > 0.5
        assert counted(port, "fluentbit_output_upstream_total_connections") == 1
        assert counted(port, "fluentbit_output_upstream_busy_connections") == 1
        aggregator.answers.set()
        until(lambda: answers(port) == WELL)
        assert counted(port, "podwitness_stalled_seconds") == 0
        assert counted(port, "fluentbit_output_upstream_total_connections") == 0  # HTTP/1.0


def test_an_aggregator_that_refuses_connections(tmp_path: Path) -> None:
    port = free_port()
    sections = (
        service(port, Stall_Timeout=0.5, storage_dot_path=tmp_path / "spool"),
        "[INPUT]\n    Name dummy\n    Tag logs\n    Rate 20\n",
        to(free_port(), Retry_Limit="no_limits"),
    )
    with running(tmp_path, *sections):
        until(lambda: "its oldest chunk in the spool waits" in get(port, "/readyz")[1])
        assert "refused" in get(port, "/readyz")[1]
        assert answers(port) == (200, 503, 200, 200)
        stored = get(port, "/api/v1/storage")[1]
        assert '"fs_chunks_down": 0' not in stored


def test_a_file_whose_reads_hang(tmp_path: Path) -> None:
    port = free_port()
    path = tmp_path / "a.log"
    path.write_text("line\n")
    sections = (service(port, Stall_Timeout=0.5), tail(tmp_path), NULL)
    with contextlib.ExitStack() as stack:
        held = HeldReads(path)
        release = stack.enter_context(contextlib.ExitStack())
        release.enter_context(held)
        agent = stack.enter_context(running(tmp_path, *sections))
        until(lambda: counted(port, "fluentbit_input_records_total", '{name="tail.0"}') == 1)
        # A thread of its own reads more than a little at a time, so that the rest of the agent goes on.
        held.hold(but=agent.process.pid)
        with path.open("a") as log:
            log.write(("x" * 99 + "\n") * 10_000)
        assert held.is_holding.wait(20)
        until(lambda: answers(port)[0] == 503)
        assert f"{path} has grown beyond byte 5 and is not read" in get(port, "/livez")[1]
        assert answers(port) == (503, 503, 200, 200)
        release.close()
        until(lambda: answers(port) == WELL)
        assert counted(port, "fluentbit_input_records_total", '{name="tail.0"}') == 10_001


def test_a_line_without_its_end_is_no_stall(tmp_path: Path) -> None:
    port = free_port()
    (tmp_path / "a.log").write_text("line\nand a half")
    with running(tmp_path, service(port, Stall_Timeout=2), tail(tmp_path), NULL):
        until(lambda: counted(port, "fluentbit_input_records_total", '{name="tail.0"}') == 1)
        throughout(4.5, lambda: answers(port) == WELL)


# At SIGUSR1 whoever waits for the rings waits forever.
DEAF = """
import asyncio, os, signal, sys
from collector.cli import main
from collector.inputs.event_rings import RingWatch

async def wait(self, timeout_s):
    await asyncio.Event().wait()

signal.signal(signal.SIGUSR1, lambda *_: setattr(RingWatch, "wait", wait))
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.kernel
def test_rings_that_nobody_reads(tmp_path: Path) -> None:
    port = free_port()
    script = tmp_path / "deaf.py"
    script.write_text(DEAF)
    path = configuration(tmp_path, service(port, Stall_Timeout=0.5), EBPF, NULL)
    with Agent("-c", path, command=(sys.executable, str(script))) as agent:
        agent.wait_until_probes()
        until(lambda: answers(port) == WELL)
        os.kill(agent.process.pid, signal.SIGUSR1)
        until(lambda: answers(port)[0] == 503)
        assert "ebpf.0: for " in get(port, "/livez")[1]
        assert "the rings are not read" in get(port, "/livez")[1]


# At SIGUSR1 whoever has something to hand over waits forever. The journal is looked at every 0.2 s, and the
# API server's events are asked for as often.
STUCK = """
import asyncio, os, signal, sys
from collector.cli import main
from collector.filters.chain import FilterChain
from collector.inputs import kubernetes_events, systemd
from collector.kubernetes import access, list_watch

async def wait(self, what):
    await asyncio.Event().wait()

def stick(*_):
    FilterChain.ready = systemd.Systemd._hand_over = list_watch.ListWatch._take = wait

systemd.LOOK_S = access.SILENCE_S = kubernetes_events.QUIET_S = 0.2
list_watch.AT_ONCE_S = 0
signal.signal(signal.SIGUSR1, stick)
sys.exit(main(sys.argv[1:]))
"""


def send_and_stay(port: int, data: bytes) -> None:
    """As soon as somebody listens; nobody waits for the answer."""
    sock = socket.socket()
    _LEFT_OPEN.append(sock)
    until(lambda: sock.connect_ex(("127.0.0.1", port)) == 0)
    sock.sendall(data)


def post(port: int) -> None:
    head = "POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 14\r\n\r\n"
    send_and_stay(port, head.encode() + b'{"log":"line"}')


def forward(port: int) -> None:
    entry = [int(time.time()), {"log": "line"}]
    send_and_stay(port, msgpack.packb(["logs", [entry], {"chunk": "one"}]))


_LEFT_OPEN: list[socket.socket] = []
LISTENING = [
    ("http", post, "a request that was received is not read or filtered"),
    ("forward", forward, "a message that was received is not read or filtered"),
]


@pytest.fixture
def left_open() -> Iterator[None]:
    yield
    while _LEFT_OPEN:
        _LEFT_OPEN.pop().close()


@contextlib.contextmanager
def stuck(folder: Path, *sections: str) -> Iterator[Agent]:
    script = folder / "stuck.py"
    script.write_text(STUCK)
    path = configuration(folder, *sections)
    with Agent("-c", path, command=(sys.executable, str(script))) as agent:
        agent.wait_until_running()
        yield agent


@pytest.mark.parametrize(("name", "send", "said"), LISTENING)
@pytest.mark.usefixtures("left_open")
def test_what_was_received_and_is_not_handed_over(
    tmp_path: Path, name: str, send: Callable[[int], None], said: str
) -> None:
    port, own = free_port(), free_port()
    listening = f"[INPUT]\n    Name {name}\n    Listen 127.0.0.1\n    Port {own}\n"
    with stuck(tmp_path, service(port, Stall_Timeout=0.5), listening, NULL) as agent:
        until(lambda: answers(port) == WELL)
        os.kill(agent.process.pid, signal.SIGUSR1)
        send(own)
        until(lambda: answers(port)[0] == 503)
        assert f"{name}.0: for " in get(port, "/livez")[1]
        assert said in get(port, "/livez")[1]
        assert counted(port, "podwitness_stalled_seconds", f'{{name="{name}.0"}}') > 1.5


@pytest.mark.parametrize(("name", "send", "_"), LISTENING)
@pytest.mark.usefixtures("left_open")
def test_what_the_outputs_have_no_receipt_for_is_no_reason_to_restart(
    tmp_path: Path, aggregator: Aggregator, name: str, send: Callable[[int], None], _: str
) -> None:
    port, own = free_port(), free_port()
    aggregator.answers.clear()
    listening = f"[INPUT]\n    Name {name}\n    Tag logs\n    Listen 127.0.0.1\n    Port {own}\n"
    with running(tmp_path, service(port, Stall_Timeout=0.5), listening, to(aggregator.server_port)):
        send(own)
        until(lambda: "waits for the outputs" in get(port, "/readyz")[1])
        stalled = f'{{name="{name}.0"}}'
        until(lambda: counted(port, "podwitness_stalled_seconds", stalled) > 2)
        assert answers(port) == (200, 503, 200, 200)
        aggregator.answers.set()
        until(lambda: answers(port) == WELL)
        assert counted(port, "podwitness_stalled_seconds", stalled) == 0


def test_a_journal_that_nobody_reads(tmp_path: Path) -> None:
    port = free_port()
    write_journal(tmp_path / "journal", export(0, "sshd.service", "one"))
    journal = f"[INPUT]\n    Name systemd\n    Path {tmp_path}/journal\n"
    with stuck(tmp_path, service(port, Stall_Timeout=0.5), journal, NULL) as agent:
        until(lambda: counted(port, "fluentbit_input_records_total", '{name="systemd.0"}') == 1)
        throughout(2.5, lambda: answers(port) == WELL)  # nothing new is no stall
        os.kill(agent.process.pid, signal.SIGUSR1)
        until(lambda: answers(port)[0] == 503)
        assert "systemd.0: for " in get(port, "/livez")[1]
        assert "the journal is not read" in get(port, "/livez")[1]


def test_events_of_a_cluster_that_nobody_follows(tmp_path: Path) -> None:
    port = free_port()

    def scene(server: ApiServer, put: Callable[[], None]) -> None:
        events = f"[INPUT]\n    Name kubernetes_events\n    Kube_URL {server.url}\n"
        with stuck(tmp_path, service(port, Stall_Timeout=0.5), events, NULL) as agent:
            until(lambda: len([one for one in server.requests if "watch" in one]) >= 10)
            assert answers(port) == WELL  # nothing new is no stall
            os.kill(agent.process.pid, signal.SIGUSR1)
            put()
            until(lambda: answers(port)[0] == 503)
            assert "kubernetes_events.0: for " in get(port, "/livez")[1]
            assert "the API server's events are not followed" in get(port, "/livez")[1]

    async def serve() -> None:
        async with api_server() as server:
            loop = asyncio.get_running_loop()
            event = recorded("events")[0]

            def put() -> None:
                asyncio.run_coroutine_threadsafe(server.put(event), loop).result(20)

            await asyncio.to_thread(scene, server, put)

    asyncio.run(serve())


# An outage is told after 30 s, since a server that is replaced takes less.
IMPATIENT = """
import sys
from collector.cli import main
from collector.kubernetes import outage

outage.OUTAGE_S = 0.2
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize(
    ("name", "section"),
    [
        ("kubernetes_events.0", "[INPUT]\n    Name kubernetes_events\n    Interval_Sec 1\n"),
        ("kubernetes.0", "[INPUT]\n    Name dummy\n[FILTER]\n    Name kubernetes\n    Match *\n"),
    ],
)
def test_an_api_server_that_is_away(tmp_path: Path, name: str, section: str) -> None:
    port, own = free_port(), free_port()
    script = tmp_path / "impatient.py"
    script.write_text(IMPATIENT)
    path = configuration(tmp_path, service(port), f"{section}    Kube_URL http://127.0.0.1:{own}\n", NULL)
    loop = asyncio.new_event_loop()
    server = ApiServer()
    try:
        with Agent("-c", path, command=(sys.executable, str(script))) as agent:
            agent.wait_until_running()
            until(lambda: answers(port) == UNWELL)
            assert f"{name}: the API server at http://127.0.0.1:{own} is not there" in get(port, "/readyz")[1]
            loop.run_until_complete(server.start(own))
            serving = threading.Thread(target=loop.run_forever, daemon=True)
            serving.start()
            until(lambda: answers(port) == WELL)
            assert agent.stop() == 0
            loop.call_soon_threadsafe(loop.stop)
            serving.join(20)
        loop.run_until_complete(server.stop())
    finally:
        loop.close()


def test_probes_that_can_not_be_attached(tmp_path: Path) -> None:
    port = free_port()
    with running(tmp_path, service(port), EBPF + "    Witness ebpf\n", NULL, prefix=WITHOUT_BPF) as agent:
        agent.log.wait_for("kernel events are not seen")
        assert answers(port) == UNWELL
        assert get(port, "/readyz")[1].startswith("ebpf.0: ")


def test_ready_ends_before_the_agent_does(tmp_path: Path, aggregator: Aggregator) -> None:
    port = free_port()
    aggregator.answers.clear()
    (tmp_path / "a.log").write_text("line\n")
    with running(tmp_path, service(port, Grace=3), tail(tmp_path), to(aggregator.server_port)) as agent:
        until(lambda: counted(port, "fluentbit_input_records_total", '{name="tail.0"}') == 1)
        agent.process.terminate()
        until(lambda: get(port, "/readyz") == (503, "stopping\n"))
        assert get(port, "/livez")[0] == 200
        aggregator.answers.set()
        assert agent.process.wait(20) == 0
