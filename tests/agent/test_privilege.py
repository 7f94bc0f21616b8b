"""What a running agent may do is what collector.privilege says, and it is enough for its work."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from collector.privilege import Held, Situation, held, own, wanted
from tests.agent.agent import Agent
from tests.agent.test_run_lifecycle import EBPF, STDOUT, configuration, free_port, service, tail
from tests.polling import until

pytestmark = pytest.mark.kernel

PLAIN = Situation(has_probes=True, http_port=None, cgroups_at="/sys/fs/cgroup", not_ours=())
NOBODY = 65534


def held_by(pid: int) -> Held:
    return held(Path(f"/proc/{pid}/status").read_text())


def starter_of(pid: int) -> int:
    """The loader and the children of heartbeats are gone by the time that probes are attached, or soon."""
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        if Path(f"/proc/{child}/exe").readlink() == Path(f"/proc/{pid}/exe").readlink():
            return int(child)
    raise AssertionError("there is no starter")


def threads_of(pid: int) -> list[int]:
    return [int(name) for name in os.listdir(f"/proc/{pid}/task")]


def test_collector_and_starter_hold_what_the_table_says(tmp_path: Path) -> None:
    port = free_port()
    config = configuration(tmp_path, service(port), tail(tmp_path), EBPF, STDOUT)
    with Agent("-c", config) as agent:
        agent.wait_until_probes()
        pid = agent.process.pid
        collector, starter = held_by(pid), held_by(starter_of(pid))
        expected = wanted("collector", PLAIN) & own().permitted
        assert collector.permitted == collector.effective == collector.bounding == expected
        assert collector.no_new_privs
        assert {held_by(thread) for thread in threads_of(pid)} == {collector}
        assert starter.permitted == starter.bounding == wanted("starter", PLAIN) & own().permitted
        assert starter.no_new_privs
        agent.stop()


def test_without_probes_there_is_no_starter(tmp_path: Path) -> None:
    with Agent("-c", configuration(tmp_path, tail(tmp_path), STDOUT)) as agent:
        agent.wait_until_running()
        pid = agent.process.pid
        assert Path(f"/proc/{pid}/task/{pid}/children").read_text() == ""
        assert held_by(pid).permitted == {"DAC_READ_SEARCH"}
        agent.stop()


def test_what_the_configuration_asks_for_is_kept(tmp_path: Path) -> None:
    """A low port and an output folder of another user."""
    folder = tmp_path / "theirs"
    folder.mkdir()
    os.chown(folder, NOBODY, NOBODY)
    output = f"[OUTPUT]\n    Name file\n    Match *\n    Path {folder}\n    File all.log\n"
    config = configuration(tmp_path, service(997), tail(tmp_path), output)
    (tmp_path / "a.log").write_text("hello\n")
    # Of a network of its own: the port may be taken here.
    alone = ["unshare", "--net", "sh", "-c", 'ip link set lo up; exec "$@"', "sh"]
    with Agent("-c", config, prefix=alone) as agent:
        agent.wait_until_running()
        until(lambda: (folder / "all.log").exists())
        assert held_by(agent.process.pid).permitted == {"DAC_READ_SEARCH", "NET_BIND_SERVICE", "DAC_OVERRIDE"}
        assert agent.stop() == 0
    assert "hello" in (folder / "all.log").read_text()


def test_everything_still_works_afterwards(tmp_path: Path) -> None:
    """Files of another user that nobody else may read, rotation, positions, kernel events."""
    logs = tmp_path / "logs"
    logs.mkdir(mode=0o700)
    write(logs / "a.log", "one\n")
    config = configuration(tmp_path, tail(logs), EBPF, STDOUT)
    with Agent("-c", config) as agent:
        agent.wait_until_probes()
        agent.out.wait_for("one")
        (logs / "a.log").rename(logs / "a.log.1")
        write(logs / "b.log", "two\n")
        agent.out.wait_for("two")
        subprocess.run(["/bin/sleep", "0.0456"], check=True)
        agent.out.wait_for(r'sleep","0\.0456"')
        assert agent.stop() == 0
        log = agent.log.rest()
    assert "[error]" not in log
    assert "[ warn]" not in log
    assert (logs / "tail.db").exists()


def test_the_starter_ends_with_a_collector_that_is_killed(tmp_path: Path) -> None:
    with Agent("-c", configuration(tmp_path, EBPF, STDOUT)) as agent:
        agent.wait_until_probes()
        starter = starter_of(agent.process.pid)
        agent.stop(signal.SIGKILL)
    until(lambda: not Path(f"/proc/{starter}").exists())


def test_the_collector_can_load_nothing_itself(tmp_path: Path) -> None:
    """bpf(2) by a process with the collector's capabilities, taken over from the running one."""
    with Agent("-c", configuration(tmp_path, EBPF, STDOUT)) as agent:
        agent.wait_until_probes()
        names = ",".join(f"+{name.lower()}" for name in held_by(agent.process.pid).permitted)
        agent.stop()
    confined = ["setpriv", "--no-new-privs", "--inh-caps=-all", f"--bounding-set=-all,{names}"]
    assert "Operation not permitted" in errors_of_making_a_map(*confined)
    assert not errors_of_making_a_map()  # the kernel and the code are not what refuses


def errors_of_making_a_map(*prefix: str) -> str:
    code = "from probes import bpf; bpf.map_create(2, 'x', 4, 8, 1)"
    done = subprocess.run([*prefix, "python3", "-c", code], capture_output=True, text=True, check=False)
    return done.stderr


def write(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o600)
    os.chown(path, NOBODY, NOBODY)
