"""What the DaemonSet asks for is enough to work: the collector runs in the manifest's own confinement."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from collector.privilege import held
from tests.deploy.manifests import BASE, container
from tests.deploy.pod import Pod

pytestmark = [pytest.mark.kernel, pytest.mark.containers]

METRICS = "/api/v1/metrics/prometheus"
LINE = "2026-01-02T03:04:05.000000006Z stdout F hello\n"
LOG = "var/log/containers/web-0_shop_web-" + "ab" * 32 + ".log"


@pytest.fixture(scope="module")
def pod(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pod]:
    """The deployed configuration, but for its destination: records go nowhere, as fast as they come."""
    config = (BASE / "fluent-bit.conf").read_text()
    config = config[: config.index("[OUTPUT]")] + "[OUTPUT]\n    Name   null\n    Match  *\n"
    with Pod(tmp_path_factory.mktemp("node"), config) as running:
        running.wait_for(container()["livenessProbe"]["httpGet"]["path"], "")
        yield running


def test_is_ready(pod: Pod) -> None:
    pod.wait_for(container()["readinessProbe"]["httpGet"]["path"], "ok")


def test_logs_are_read(pod: Pod) -> None:
    path = pod.host / LOG
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(LINE)
    pod.wait_for(METRICS, 'fluentbit_input_records_total{name="tail.0"} 1')


def test_execs_are_seen(pod: Pod) -> None:
    pod.wait_for(METRICS, "fluentbit_input_records_total")
    before = kernel_records(pod)
    for _ in range(100):  # each try takes longer than an event needs
        subprocess.run(["true"], check=True)
        if kernel_records(pod) > before:
            return
    pytest.fail(pod.output())


def kernel_records(pod: Pod) -> float:
    _, body = pod.get(METRICS)
    found = re.findall(r'^fluentbit_input_records_total{name="ebpf\.\d+"} (\S+)', body, re.MULTILINE)
    return sum(float(value) for value in found)


def test_state_is_kept_on_the_host(pod: Pod) -> None:
    assert Path(pod.host, "var/lib/podwitness/kube.db").exists()


def test_it_holds_what_the_manifest_grants_for_the_collector(pod: Pod) -> None:
    pod.wait_for(METRICS, "fluentbit_input_records_total")
    assert held(pod.status()).permitted == {"DAC_READ_SEARCH"}


def test_a_heartbeat_goes_through_its_probes(pod: Pod) -> None:
    body = pod.wait_for(METRICS, "podwitness_heartbeat_latency_seconds")
    assert 'podwitness_heartbeat_age_seconds{kind="exec"}' in body


def test_the_doctor_finds_all_that_is_needed(pod: Pod) -> None:
    (pod.host / "var/log/pods").mkdir(parents=True, exist_ok=True)
    report = json.loads(pod.run("doctor", "--json").stdout)
    assert [check for check in report["checks"] if check["needed"] and check["state"] == "fails"] == []
    lesser = {check["check"] for check in report["checks"] if check["state"] != "works"}
    # What this machine lacks, and what the manifest leaves out on purpose.
    assert lesser <= {
        "for netlink",
        "Trace flow",
        "netlink instead",
        "connection tracking",
        "cgroups",
        "clock",
        "journal",
        "memory for it",
        "runtime's bundles",
    }
