"""A Fluent Bit configuration as it is, on a node as it is: what arrives is what Fluent Bit sends.

tests/golden/fluent-bit.conf names logs of containers, the journal, the audit log, the API server and an
aggregator that asks for a client certificate. What is expected is written by hand, from its documentation.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.agent.cluster_node import SERVICE_ACCOUNT_TOKEN, ClusterNode
from tests.api_server import GOLDEN, recorded
from tests.polling import until

CONFIGURATION = GOLDEN.parent / "fluent-bit.conf"
AUDIT_TAG = "audit.var.log.kubernetes.audit.audit.log"
AUDIT = (GOLDEN / "audit.jsonl").read_text().splitlines()
PARSERS = r"""
[PARSER]
    Name        json
    Format      json
    Time_Key    time
    Time_Format %d/%b/%Y:%H:%M:%S %z

[PARSER]
    Name        cri
    Format      regex
    Regex       ^(?<time>[^ ]+) (?<stream>stdout|stderr) (?<logtag>[^ ]*) (?<{content}>.*)$
    Time_Key    time
    Time_Format %Y-%m-%dT%H:%M:%S.%L%z
    Time_Keep   On
"""
CUSTOM = "[PARSER]\n    Name   kv\n    Format logfmt\n"
WEB, TICKER = "web-5c8c56666c-8w7j8", "13cdfb4a12a5278da19acfa2eca5abca0f87f564a41be8d6ee75170063e41c51"
SPAMMER, SPAM = "spammer", "234445e1a85df1f45cdd6511f2b3b7de4630c09138df50d9000059173624d87a"
SECOND_NS = 1_000_000_000
START_NS = 1795479272 * SECOND_NS  # 2026-11-24T00:14:32Z
LINES = (
    "2026-11-24T00:14:32.766265542Z stdout F tick 1",
    "2026-11-24T00:14:32.766312252Z stderr F err 1",
    '2026-11-24T00:14:33.76871983Z stdout F {"level":"info","n":3,"at":{"x":[1,null]}}',
    "2026-11-24T00:14:33.8Z stdout P a line in ",
    "2026-11-24T00:14:33.9Z stdout F two parts",
)
TIMES_NS = [
    START_NS + 766265542,
    START_NS + 766312252,
    START_NS + 1768719830,
    START_NS + 1800000000,
    START_NS + 1900000000,
]
SERVICES = {
    "kubelet.service": "Started container",
    "docker.service": "Container started",
    "cron.service": "(root) CMD",
}


def text_of(value: Any) -> Any:
    """What the receiver leaves as bytes, as text; maps as pairs, since their order counts."""
    if isinstance(value, dict):
        return [(text_of(key), text_of(content)) for key, content in value.items()]
    if isinstance(value, list):
        return [text_of(one) for one in value]
    return value.decode() if isinstance(value, bytes) else value


def pod(name: str) -> dict[str, Any]:
    return next(one for one in recorded("pods") if one["metadata"]["name"] == name)


def kubernetes_of(name: str, container: str, container_id: str) -> dict[str, Any]:
    """kube_meta.c's order: names, uid, labels and annotations, node and address, then the container."""
    found = pod(name)
    metadata, status = found["metadata"], found["status"]
    (state,) = [one for one in status["containerStatuses"] if one["name"] == container]
    wanted = {
        "pod_name": name,
        "namespace_name": metadata["namespace"],
        "pod_id": metadata["uid"],
        "labels": metadata.get("labels"),
        "annotations": metadata.get("annotations"),
        "host": found["spec"]["nodeName"],
        "pod_ip": status["podIP"],
        "container_name": container,
        "docker_id": container_id,
        "container_hash": state["imageID"].rpartition("://")[2] or state["imageID"],
        "container_image": state["image"],
    }
    return {key: value for key, value in wanted.items() if value is not None}


class Log:
    """As the kubelet and containerd have it: a file below /var/log/pods, with a link to it."""

    def __init__(self, node: ClusterNode, name: str, container: str, container_id: str) -> None:
        found = pod(name)["metadata"]
        namespace = found["namespace"]
        folder = f"var/log/pods/{namespace}_{name}_{found['uid']}/{container}"
        (node.root / folder).mkdir(parents=True)
        self._path = node.root / folder / "0.log"
        self._path.write_text("2026-11-24T00:00:00Z stdout F before the start\n")
        link = node.root / f"var/log/containers/{name}_{namespace}_{container}-{container_id}.log"
        link.symlink_to(f"/{folder}/0.log")
        self.tag = f"kube.var.log.containers.{link.name}"

    def write(self, *lines: str) -> None:
        with self._path.open("a") as log:
            log.write("".join(f"{line}\n" for line in lines))


def entry(unit: str, message: str, number: int) -> str:
    now_us = time.time_ns() // 1000 + number
    return (
        f"__REALTIME_TIMESTAMP={now_us}\n__MONOTONIC_TIMESTAMP={number + 1}\n"
        "_BOOT_ID=0123456789abcdef0123456789abcdef\n"
        f"PRIORITY=6\n_SYSTEMD_UNIT={unit}\n_PID={100 + number}\nMESSAGE={message}\n\n"
    )


@pytest.fixture
def node(tmp_path: Path) -> Iterator[ClusterNode]:
    with ClusterNode(tmp_path) as made:
        yield made


def configure(node: ClusterNode, content: str) -> str:
    folder = node.root / "fluent-bit/etc"
    (folder / "fluent-bit.conf").write_text(CONFIGURATION.read_text())
    (folder / "parsers.conf").write_text(PARSERS.replace("{content}", content))
    (folder / "custom_parsers.conf").write_text(CUSTOM)
    return "/fluent-bit/etc/fluent-bit.conf"


def expected_logs(content: str) -> list[list[tuple[str, Any]]]:
    """With `message` nothing is merged: Merge_Log looks at `log` alone. Parts of lines are not joined."""
    kubernetes = kubernetes_of(WEB, "ticker", TICKER)
    records = []
    for line in LINES:
        time_text, stream, logtag, rest = line.split(" ", 3)
        record: dict[str, Any] = {"time": time_text, "stream": stream, "logtag": logtag}
        merged = json.loads(rest) if rest.startswith("{") and content == "log" else {content: rest}
        records.append(text_of({**record, **merged, "kubernetes": kubernetes}))
    return records


def expected_audit() -> list[Any]:
    """Of the lines that were written while the agent ran."""
    added = {"k8s.audit.log": "true", "environment": "prod"}
    return [text_of({**json.loads(line), **added}) for line in AUDIT[1:]]


@pytest.mark.parametrize("content", ["message", "log"])
def test_every_record_is_what_fluent_bit_sends(node: ClusterNode, content: str) -> None:
    excluded = pod(SPAMMER)
    excluded["metadata"].setdefault("annotations", {})["fluentbit.io/exclude"] = "true"
    node.do(node.api.put(pod(WEB)))
    node.do(node.api.put(excluded))
    log, spam = Log(node, WEB, "ticker", TICKER), Log(node, SPAMMER, "s", SPAM)
    audit = node.root / "var/log/kubernetes/audit/audit.log"
    audit.write_text(AUDIT[0] + "\n")
    node.journal(entry("kubelet.service", "before the start", 0))
    path = configure(node, content)
    with node.agent(path, CLUSTER_NAME="prod", NODE_NAME="node1") as agent:
        agent.wait_until_running()
        for wanted in ('opened_total{name="tail.0"} 2\n', 'opened_total{name="tail.1"} 1\n'):
            until(lambda: wanted in node.get("/metrics"), wanted)  # noqa: B023
        began_ns = time.time_ns()
        log.write(*LINES)
        spam.write("2026-11-24T00:14:32Z stdout F spam")
        with audit.open("a") as file:
            file.write("".join(f"{line}\n" for line in AUDIT[1:]))
        node.journal("".join(entry(unit, said, n) for n, (unit, said) in enumerate(SERVICES.items(), 1)))
        receiver = node.receiver
        node.wait_for(lambda: len(receiver.records) >= len(LINES) + len(AUDIT) - 1 + 2)
        assert agent.stop() == 0
    found: dict[str, list[tuple[int, Any]]] = {}
    for message in receiver.received:
        found.setdefault(message.tag, []).extend((at, text_of(one)) for at, one in message.entries)
    assert set(found) == {log.tag, AUDIT_TAG, "host.kubelet.service", "host.docker.service"}
    assert [record for _, record in found[log.tag]] == expected_logs(content)
    assert [at for at, _ in found[log.tag]] == TIMES_NS
    assert [record for _, record in found[AUDIT_TAG]] == expected_audit()
    assert all(began_ns <= at <= time.time_ns() for at, _ in found[AUDIT_TAG])
    for unit, number in (("kubelet.service", 1), ("docker.service", 2)):
        ((_, pairs),) = found[f"host.{unit}"]
        record = dict(pairs)
        fields = (record["_SYSTEMD_UNIT"], record["MESSAGE"], record["_PID"], record["PRIORITY"])
        assert fields == (unit, SERVICES[unit], str(100 + number), "6")
    # Each connection showed its certificate, and was kept; positions are where the configuration says.
    assert receiver.connections <= 4
    assert (node.root / "var/log/flb-kube.db").exists()
    assert (node.root / "var/log/flb-audit.db").exists()
    assert [one for one in node.api.requests if one.startswith("/api/v1/pods?")]


def test_logs_go_on_while_the_api_server_refuses_and_have_their_pod_when_it_does_not(
    node: ClusterNode,
) -> None:
    """Without metadata Fluent Bit's records have no map; the node's own knowledge is for Compat safe."""
    node.api.tokens = {"another"}
    node.do(node.api.put(pod(WEB)))
    log = Log(node, WEB, "ticker", TICKER)
    with node.agent(configure(node, "message"), CLUSTER_NAME="prod", NODE_NAME="node1") as agent:
        agent.wait_until_running()
        until(lambda: 'opened_total{name="tail.0"} 1\n' in node.get("/metrics"))
        log.write(LINES[0])
        node.wait_for(lambda: len(node.receiver.records) == 1)
        node.api.tokens = {SERVICE_ACCOUNT_TOKEN}
        node.do(node.api.watched())
        log.write(LINES[1])
        node.wait_for(lambda: len(node.receiver.records) == 2)
        assert agent.stop() == 0
    first, second = (text_of(record) for record in node.receiver.records)
    with_map = expected_logs("message")[1]
    assert first == expected_logs("message")[0][:-1]
    assert second == with_map
