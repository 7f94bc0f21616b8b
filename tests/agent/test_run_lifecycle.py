"""The agent as a process: how it starts, what it refuses, how it ends."""

from __future__ import annotations

import contextlib
import json
import re
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from collector.privilege import own
from probes.bpf import program_ids
from tests.agent.agent import Agent, get
from tests.polling import until

WITHOUT_BPF = ("setpriv", "--bounding-set=-sys_admin,-bpf,-perfmon", "--inh-caps=-all")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def configuration(folder: Path, *sections: str) -> str:
    path = folder / "podwitness.conf"
    path.write_text("\n".join(sections))
    return str(path)


def service(port: int = 0, flush_s: float = 1) -> str:
    http = (
        f"    HTTP_Server On\n    HTTP_Listen 127.0.0.1\n    HTTP_Port {port}\n    Health_Check On\n"
        if port
        else ""
    )
    return f"[SERVICE]\n    Flush {flush_s}\n{http}"


def tail(folder: Path) -> str:
    keys = (f"Path {folder}/*.log", "Tag logs.*", "Read_from_Head On", f"DB {folder}/tail.db")
    return "[INPUT]\n    Name tail\n" + "".join(f"    {key}\n" for key in keys)


def programs_of(pid: int) -> set[int]:
    """That a process has descriptors of. Other programs of the machine come and go meanwhile."""
    found = set()
    for info in Path(f"/proc/{pid}/fdinfo").iterdir():
        found.update(re.findall(r"^prog_id:\s*(\d+)$", info.read_text(), re.MULTILINE))
    return {int(number) for number in found}


EBPF = "[INPUT]\n    Name ebpf\n    Tag kernel.*\n"
STDOUT = "[OUTPUT]\n    Name stdout\n    Match *\n    Format json_lines\n"


def test_kill_leaves_no_program_attached(tmp_path: Path) -> None:
    with Agent("-c", configuration(tmp_path, EBPF, STDOUT)) as agent:
        agent.wait_until_probes()
        programs = programs_of(agent.process.pid)
        assert len(programs) > 5
        assert programs <= set(program_ids())
        agent.stop(signal.SIGKILL)
    # After a grace period of RCU.
    until(lambda: not programs & set(program_ids()))


@pytest.mark.parametrize(
    ("broken", "told"),
    [
        ("[INPUT]\n    Name tale\n", r"podwitness.conf:2: there is no input called 'tale'.*tail"),
        ("[INPUT]\n    Name tail\n    Pathh /x\n", r"podwitness.conf:3: .*Pathh.*Path"),
        ("[FILTER]\n    Name modify\n    Match *\n    Add cluster ${NO_SUCH_CLUSTER}\n", r"NO_SUCH_CLUSTER"),
        ("[INPUT]\n    Name ebpf\n    Ring_Size much\n", r"podwitness.conf:3: .*much"),
    ],
)
def test_a_broken_configuration_never_starts(tmp_path: Path, broken: str, told: str) -> None:
    with Agent("-c", configuration(tmp_path, broken, STDOUT)) as agent:
        assert agent.process.wait(20) == 1
        agent.log.wait_for(told)
        assert "Traceback" not in agent.log.rest()


def test_dry_run_only_checks(tmp_path: Path) -> None:
    with Agent("-c", configuration(tmp_path, EBPF, STDOUT), "--dry-run") as agent:
        assert agent.process.wait(20) == 0
        assert "configuration test is successful" in agent.out.rest()


def test_sigterm_delivers_what_was_written_before(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    log.write_text("first\n")
    # A Flush far away: what arrives was sent because the agent ends, or because the file fell quiet.
    with Agent("-c", configuration(tmp_path, service(flush_s=60), tail(tmp_path), STDOUT)) as agent:
        agent.out.wait_for("first")
        with log.open("a") as file:
            file.writelines(f"line {number}\n" for number in range(997))
        assert agent.stop() == 0
        agent.out.rest()
        lines = [record["log"] for record in agent.records()]
    assert lines == ["first", *(f"line {number}" for number in range(997))]


def test_a_restart_goes_on_where_it_stopped(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    log.write_text("one\ntwo\n")
    arguments = ("-c", configuration(tmp_path, tail(tmp_path), STDOUT))
    with Agent(*arguments) as agent:
        agent.out.wait_for("two")
        assert agent.stop() == 0
    with log.open("a") as file:
        file.write("three\n")
    with Agent(*arguments) as agent:
        agent.out.wait_for("three")
        agent.stop()
        agent.out.rest()
        assert [record["log"] for record in agent.records()] == ["three"]


def test_ctrl_c_ends_within_a_second_with_a_summary(tmp_path: Path) -> None:
    with Agent("-i", "ebpf", "-t", "kernel.*", "-o", "terminal", "-v") as agent:
        agent.wait_until_probes()
        subprocess.run(["/bin/true"], check=True)
        agent.out.wait_for('"exec"')
        asked = time.monotonic()
        assert agent.stop(signal.SIGINT) == 0
        took_s = time.monotonic() - asked
        summary = agent.log.rest()
    assert took_s < 1.0
    for part in ("podwitness ran for", "kernel events", "lost:", "MiB resident", "CPU"):
        assert part in summary


@contextlib.contextmanager
def held_up(folder: Path, grace: str) -> Iterator[Agent]:
    """An agent whose output has sent something to somebody who never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(20)
        to = f"[OUTPUT]\n    Name http\n    Match *\n    Host 127.0.0.1\n    Port {server.getsockname()[1]}\n"
        grace_line = f"[SERVICE]\n    Flush 0.1\n    Grace {grace}\n"
        path = configuration(folder, grace_line, "[INPUT]\n    Name dummy\n    Samples 1\n", to)
        with Agent("-c", path) as agent, server.accept()[0] as client:
            client.settimeout(20)
            assert client.recv(1)
            yield agent


def test_what_is_not_delivered_is_waited_for_as_long_as_grace_says(tmp_path: Path) -> None:
    with held_up(tmp_path, "1") as agent:
        asked_s = time.monotonic()
        assert agent.stop() == 0
        assert time.monotonic() - asked_s >= 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_at_once(tmp_path: Path, number: signal.Signals) -> None:
    with held_up(tmp_path, "1h") as agent:
        agent.process.send_signal(number)
        agent.log.wait_for(f"{number.name}: stopping")
        assert agent.stop(number) == 128 + number


def test_without_probes_logs_go_on_and_health_says_so(tmp_path: Path) -> None:
    """tests/agent/test_inputs_netlink_witness.py has what is seen without them."""
    port = free_port()
    (tmp_path / "a.log").write_text("still shipped\n")
    only_ebpf = EBPF + "    Witness ebpf\n"
    config = configuration(tmp_path, service(port), tail(tmp_path), only_ebpf, STDOUT)
    with Agent("-c", config, prefix=WITHOUT_BPF) as agent:
        agent.out.wait_for("still shipped")
        agent.log.wait_for(r"\[error\] \[ebpf\.0\] kernel events are not seen")
        status, body = get(port, "/api/v2/health")
        assert status == 500
        component = json.loads(body)["components"]["ebpf.0"]
        assert not component["ok"]
        assert component["reason"]
        assert get(port, "/api/v1/health") == (500, "error\n")
        assert agent.stop() == 0


def test_endpoints_answer_while_events_flow(tmp_path: Path) -> None:
    port = free_port()
    with Agent("-c", configuration(tmp_path, service(port), EBPF, STDOUT)) as agent:
        agent.wait_until_probes()
        subprocess.run(["/bin/true"], check=True)
        agent.out.wait_for('"exec"')
        assert get(port, "/api/v1/health") == (200, "ok\n")
        assert json.loads(get(port, "/api/v1/metrics")[1])["input"]["ebpf.0"]["records"] > 0
        text = get(port, "/metrics")[1]
        assert "podwitness_kernel_events_total" in text
        assert get(port, "/no/such/page")[0] == 404
        agent.stop()


def test_a_taken_port_ends_the_start(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = int(taken.getsockname()[1])
        with Agent("-c", configuration(tmp_path, service(port), EBPF, STDOUT)) as agent:
            assert agent.process.wait(20) == 1
            agent.log.wait_for(rf"can't listen on 127.0.0.1:{port}")


@pytest.mark.parametrize(
    "module", ["bcc", "calendar", "email", "importlib.metadata", "re2", "shutil", "probes.netlink_exchange"]
)
def test_the_collector_does_without_modules_that_take_much_memory(module: str) -> None:
    rooms = "inputs.ebpf", "inputs.tail", "filters.kubernetes", "outputs.forward", "service.endpoints"
    loaded = ", ".join(f"collector.{room}" for room in ("run", *rooms))
    code = f"import sys, {loaded}; sys.exit({module!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_limits_are_raised_as_far_as_may_be(tmp_path: Path) -> None:
    """Descriptors for all files; a priority for the thread that opens those of short containers."""
    config = configuration(tmp_path, tail(tmp_path), STDOUT)
    with Agent("-c", config, prefix=("prlimit", "--nofile=100:1000")) as agent:
        agent.wait_until_running()
        pid = agent.process.pid
        assert resource.prlimit(pid, resource.RLIMIT_NOFILE) == (1000, 1000)
        before = resource.getrlimit(resource.RLIMIT_RTPRIO)
        raised = (1, before[1] or 1) if before == (0, 0) and "SYS_RESOURCE" in own().permitted else before
        assert resource.prlimit(pid, resource.RLIMIT_RTPRIO) == raised


@pytest.mark.parametrize("output", ["terminal", "stdout"])
def test_a_reader_that_has_seen_enough_ends_it_in_good_order(output: str) -> None:
    """As `podwitness | head` does: it stops as by SIGTERM, and Python has nothing to say about the pipe."""
    command = [sys.executable, "-m", "collector", "-i", "dummy", "-o", output, "-m", "*"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline()
        process.stdout.close()
        said = process.stderr.read()
    # Before 3.13 Python forgets what it could not write, and so that there was anything.
    assert process.returncode in (0, 1), said
    assert ("podwitness ran for" if output == "terminal" else "SIGTERM: stopping") in said
    assert not re.search("Traceback|Exception|object repr|lost sys", said), said
