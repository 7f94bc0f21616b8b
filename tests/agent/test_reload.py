"""Another configuration in a running agent (collector.reload): nothing is lost, nothing comes twice."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.agent.agent import Agent, get
from tests.agent.test_run_lifecycle import free_port
from tests.polling import until

RELOADS = 20
DEADLINE_S = 60.0


def reload(port: int) -> tuple[int, dict[str, Any]]:
    request = urllib.request.Request(f"http://127.0.0.1:{port}/api/v2/reload", data=b"{}", method="POST")
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as answer:
        return answer.code, json.loads(answer.read())


class Conf:
    """The agent's file, written anew for each reload."""

    def __init__(self, folder: Path, port: int) -> None:
        self.path = folder / "main.conf"
        self._service = (
            f"[SERVICE]\n    Flush 0.1\n    Grace 10\n    HTTP_Server On\n    HTTP_Listen 127.0.0.1\n"
            f"    HTTP_Port {port}\n    Hot_Reload On\n"
        )

    def write(self, *sections: str) -> None:
        """In one step, as a ConfigMap changes."""
        new = self.path.with_suffix(".new")
        new.write_text(self._service + "".join(sections))
        new.rename(self.path)


def tail(folder: Path, tag: str = "t") -> str:
    keys = (f"Path {folder}/*.log", f"Tag {tag}.*", "Read_from_Head On", f"DB {folder}/tail.db")
    return "[INPUT]\n    Name tail\n" + "".join(f"    {key}\n" for key in keys)


def modify(value: int, tag: str = "t") -> str:
    return f"[FILTER]\n    Name modify\n    Match *\n    Add turn {value}\n    Add tag {tag}\n"


def output(folder: Path, number: int, match: str = "*") -> str:
    name = f"    Name file\n    Match {match}\n    Path {folder}\n    File out.{number}\n    Format plain\n"
    return f"[OUTPUT]\n{name}    Retry_Limit no_limits\n"


BROKEN = "[OUTPUT]\n    Name stdoutt\n    Match *\n"


@contextmanager
def writing(folder: Path, files: int) -> Iterator[list[int]]:
    """Numbered lines to several files, rotated by renaming now and then, until the block ends."""
    counts, stop = [0] * files, threading.Event()

    def write() -> None:
        logs = [(folder / f"{number}.log").open("a") for number in range(files)]
        while not stop.is_set():
            for number in range(files):
                for _ in range(20):
                    logs[number].write(f"{number} {counts[number]}\n")
                    counts[number] += 1
                logs[number].flush()
            if counts[0] % 2000 == 0:
                logs[0].close()
                # As the kubelet names them: after a reload what is unread of them is found by their names.
                os.rename(folder / "0.log", folder / f"0.log.20260101-{counts[0]:06}")
                logs[0] = (folder / "0.log").open("a")
            stop.wait(0.002)
        for log in logs:
            log.close()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        yield counts
    finally:
        stop.set()
        writer.join()


def delivered(folder: Path) -> list[dict[str, str]]:
    """All outputs' records, in the order of the outputs' files."""
    records: list[dict[str, str]] = []
    for path in sorted(folder.glob("out.*"), key=lambda one: int(one.suffix[1:])):
        # A line that is just being written is not there yet.
        whole = path.read_text().rpartition("\n")[0]
        records += [json.loads(line) for line in whole.splitlines()]
    return records


def await_delivered(folder: Path, number: int) -> list[dict[str, str]]:
    """All records, once there are so many; what is missing then the assertions that follow tell."""
    with suppress(AssertionError):
        until(lambda: len(delivered(folder)) >= number, deadline_s=DEADLINE_S, every_s=0.05)
    return delivered(folder)


def texts(records: list[dict[str, str]]) -> list[str]:
    return [record["log"] for record in records]


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Of logs, and of what outputs write."""
    for name in ("logs", "out"):
        (tmp_path / name).mkdir()
    return tmp_path / "logs", tmp_path / "out"


def stream(record: dict[str, str]) -> tuple[str, str]:
    """File and tag; the first configuration has no filter that says the tag."""
    return record["log"].partition(" ")[0], record.get("tag", "t")


def number(record: dict[str, str]) -> int:
    return int(record["log"].partition(" ")[2])


def test_twenty_reloads_under_load(tmp_path: Path, folders: tuple[Path, Path]) -> None:
    """In turns another filter, another output, another tag (the input begins anew), and a wrong one."""
    logs, out = folders
    port, done = free_port(), 0
    conf = Conf(tmp_path, port)
    conf.write(tail(logs), output(out, 0))
    with Agent("-c", str(conf.path)) as agent:
        agent.wait_until_running()
        with writing(logs, 4) as counts:
            for turn in range(RELOADS):
                if turn % 5 == 4:
                    conf.write(tail(logs), BROKEN)
                    status, answer = reload(port)
                    assert (status, answer["reload"]) == (400, "failed"), answer
                    assert "there is no output called 'stdoutt'" in answer["problems"][0]
                    continue
                tag = "u" if turn % 5 >= 2 else "t"
                conf.write(tail(logs, tag), modify(turn // 2, tag), output(out, turn // 3))
                assert reload(port) == (200, {"reload": "done", "status": 0})
                done += 1
        assert get(port, "/api/v2/reload")[1] == json.dumps({"hot_reload_count": done})
        assert f"podwitness_reload_failures_total {RELOADS - done}" in get(port, "/metrics")[1]
        records = await_delivered(out, sum(counts))
        assert agent.stop() == 0
    came = texts(records)
    assert len(came) == len(set(came)), "a record came twice"
    assert set(came) == {f"{file} {line}" for file, lines in enumerate(counts) for line in range(lines)}
    # What waits under the old tag and what comes under the new one are two streams to an output.
    for file, tag in itertools.product(range(4), "tu"):
        numbers = [number(record) for record in records if stream(record) == (str(file), tag)]
        assert numbers == sorted(numbers), f"records of file {file} under tag {tag} out of order"


def test_sighup_reloads_and_says_why_it_does_not(tmp_path: Path, folders: tuple[Path, Path]) -> None:
    logs, out = folders
    conf = Conf(tmp_path, free_port())
    conf.write(tail(logs), output(out, 0))
    with Agent("-c", str(conf.path)) as agent:
        agent.wait_until_running()
        conf.write(tail(logs), "[FILTER]\n    Name modify\n    Match *\n", BROKEN)
        agent.process.send_signal(signal.SIGHUP)
        agent.log.wait_for(r"reload: .*main.conf:.*there is no output called 'stdoutt'")
        agent.log.wait_for("the configuration stays as it was")
        conf.write(tail(logs), modify(1), output(out, 0))
        agent.process.send_signal(signal.SIGHUP)
        agent.log.wait_for("reload: the new configuration runs")
        (logs / "a.log").write_text("x\n")
        await_delivered(out, 1)
        assert json.loads((out / "out.0").read_text())["turn"] == "1"
        assert agent.stop() == 0


def test_what_takes_a_restart_is_refused_with_the_reason(tmp_path: Path, folders: tuple[Path, Path]) -> None:
    logs, out = folders
    port = free_port()
    conf = Conf(tmp_path, port)
    conf.write(tail(logs), output(out, 0))
    with Agent("-c", str(conf.path)) as agent:
        agent.wait_until_running()
        conf.write(
            "    Host_Root /host\n", tail(logs), "[INPUT]\n    Name ebpf\n    Tag k.*\n", output(out, 0)
        )
        status, answer = reload(port)
        assert status == 400
        assert answer["problems"] == [
            "Host_Root is another one: that takes a restart.",
            "An input ebpf takes privileges that were given up at the start: restart podwitness.",
        ]
        assert agent.stop() == 0


def test_probes_stay_attached_and_no_event_is_missed(tmp_path: Path, folders: tuple[Path, Path]) -> None:
    _, out = folders
    port = free_port()
    conf = Conf(tmp_path, port)
    # A limit is of a cgroup, and this one is that of whatever else runs on the machine.
    ebpf = "[INPUT]\n    Name ebpf\n    Tag k.*\n    Trace process\n    Rate_Limit_Process 0\n"
    only_ours = (
        "[FILTER]\n    Name grep\n    Match k.process\n    Regex $process['command_line'] reloaded-[0-9]\n"
    )
    conf.write(ebpf, only_ours, output(out, 0, "k.process"))
    with Agent("-c", str(conf.path)) as agent:
        agent.wait_until_probes()
        for turn in range(10):
            for number in range(13):
                subprocess.run(["/bin/true", f"reloaded-{turn * 13 + number}"], check=True)
            conf.write(ebpf, only_ours, modify(turn), output(out, turn // 4, "k.process"))
            assert reload(port)[0] == 200
        agent.log.wait_for("reload: the new configuration runs", 10)
        assert agent.stop() == 0
        assert agent.log.rest().count("hooks attached") == 1
    found = [
        json.loads(line)["process"]["args"][1]
        for path in out.glob("out.*")
        for line in path.read_text().splitlines()
        if '"exec"' in line
    ]
    assert sorted(found) == sorted(f"reloaded-{number}" for number in range(130))


def test_an_output_that_goes_delivers_what_it_was_given(tmp_path: Path, folders: tuple[Path, Path]) -> None:
    """Its folder is not there; a moment later it is, and it had been removed meanwhile."""
    logs, out = folders
    port = free_port()
    conf = Conf(tmp_path, port)
    late = tmp_path / "late"
    conf.write(tail(logs), output(out, 0), output(late, 1))
    (logs / "a.log").write_text("x\n")
    with Agent("-c", str(conf.path)) as agent:
        await_delivered(out, 1)
        agent.log.wait_for("file.1 can't deliver")
        conf.write(tail(logs), output(out, 0))
        assert reload(port)[0] == 200
        late.mkdir()
        assert texts(await_delivered(late, 1)) == ["x"]
        assert agent.stop() == 0
    assert texts(delivered(out)) == ["x"]


def test_a_processor_that_goes_hands_on_what_it_holds(tmp_path: Path, folders: tuple[Path, Path]) -> None:
    logs, out = folders
    port = free_port()
    conf = tmp_path / "main.yaml"

    def write(*processors: str) -> None:
        keys = {"name": "tail", "tag": "t", "path": f"{logs}/*.log", "read_from_head": "on"}
        sections = {
            "service": {"flush": "0.1", "http_server": "on", "http_port": str(port), "hot_reload": "on"},
            "pipeline": {
                "inputs": [keys | {"processors": {"logs": [json.loads(one) for one in processors]}}],
                "outputs": [
                    {"name": "file", "match": "*", "path": str(out), "file": "out.0", "format": "plain"}
                ],
            },
        }
        conf.write_text(json.dumps(sections))  # JSON is YAML

    write('{"name": "multiline", "multiline.parser": "go", "flush_ms": "600000"}')
    log = logs / "a.log"
    log.write_text("before\npanic: boom\n\ngoroutine 1 [running]:\n")
    with Agent("-c", str(conf)) as agent:
        agent.wait_until_running()
        assert texts(await_delivered(out, 1)) == ["before"]
        write('{"name": "modify", "add": "by processor"}')
        assert reload(port)[0] == 200
        assert texts(await_delivered(out, 2)[1:]) == ["panic: boom\n\ngoroutine 1 [running]:"]
        with log.open("a") as file:
            file.write("after\n")
        assert texts(await_delivered(out, 3)[2:]) == ["after"]
        assert agent.stop() == 0
    assert [json.loads(line).get("by") for line in (out / "out.0").read_text().splitlines()] == [
        None,
        None,
        "processor",
    ]
