"""The agent as a process on a node of its own, and what it costs."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from tests.agent.agent import Agent, get
from tests.polling import until

NODE = "node-17.example.internal"
TIMEOUT_S = 900.0
MIB = 1 << 20
# Another process's CPU clock, as clock_getcpuclockid(3) makes it.
CPUCLOCK_SCHED = 2

TAIL = """[INPUT]
    Name tail
    Tag kube.*
    Path {root}/var/log/containers/*.log
    multiline.parser cri
    Read_from_Head On
    Refresh_Interval 10
    DB {root}/tail.db
"""
KUBERNETES = """[FILTER]
    Name kubernetes
    Match kube.*
    Merge_Log On
    Keep_Log Off
"""
NULL = "[OUTPUT]\n    Name null\n    Match *\n"
FORWARD = """[OUTPUT]
    Name forward
    Match *
    Host 127.0.0.1
    Port {port}
    Send_options On
"""
TLS = "    tls On\n    tls.verify On\n    tls.ca_file {ca}\n"
ACKS = "    Require_ack_response On\n"


def forward(port: int, ca: Path | None = None, *, acks: bool = False) -> str:
    """The section of a forward output; `ca`: with TLS, whose certificate it trusts."""
    tls = TLS.format(ca=ca) if ca else ""
    return FORWARD.format(port=port) + tls + (ACKS if acks else "")


class RunningAgent:
    """The agent's processes: the collector, and whatever it started."""

    def __init__(self, pid: int, port: int) -> None:
        self._root = psutil.Process(pid)
        self._port = port

    @property
    def processes(self) -> list[psutil.Process]:
        return [self._root, *self._root.children(recursive=True)]

    @property
    def cpu_s(self) -> float:
        return sum(_cpu_s(process.pid) for process in self.processes)

    @property
    def resident_mib(self) -> float:
        return float(sum(process.memory_info().rss for process in self.processes) / MIB)

    @property
    def peak_mib(self) -> float:
        return sum(_peak_kib(process.pid) for process in self.processes) / 1024

    def forget_peak(self) -> None:
        """`peak_mib` begins with what there is now."""
        for process in self.processes:
            Path(f"/proc/{process.pid}/clear_refs").write_text("5")

    def wait_delivered(self, records: int, every_s: float = 0.01) -> float:
        """When the output `null.0` had them all, on CLOCK_MONOTONIC; asking costs."""
        wanted = f'fluentbit_output_proc_records_total{{name="null.0"}} {records} '
        until(
            lambda: wanted in get(self._port, "/api/v1/metrics/prometheus")[1],
            wanted,
            TIMEOUT_S,
            every_s=every_s,
        )
        return time.monotonic()


def _cpu_s(pid: int) -> float:
    """To the nanosecond, where /proc counts in steps of 10 ms, of which an idle agent uses two in 10 s."""
    return time.clock_gettime((~pid << 3) | CPUCLOCK_SCHED)


def _peak_kib(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:"))


@contextmanager
def running_agent(root: Path, *sections: str, settled_s: float = 1.5) -> Iterator[RunningAgent]:
    """Started, and quiet for `settled_s`. Raises AssertionError when it has told of an error."""
    port = _free_port()
    path = root / "podwitness.conf"
    service = ("Host_Root " + str(root), "HTTP_Server On", "HTTP_Listen 127.0.0.1", f"HTTP_Port {port}")
    path.write_text("\n".join(("[SERVICE]", *(f"    {line}" for line in service), *sections)))
    (root / "tail.db").unlink(missing_ok=True)
    with Agent("-c", str(path), prefix=("env", f"NODE_NAME={NODE}")) as agent:
        agent.wait_until_running()
        time.sleep(settled_s)
        yield RunningAgent(agent.process.pid, port)
        agent.stop()
        said = agent.log.rest()
        if "[error]" in said:
            raise AssertionError(said)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])
