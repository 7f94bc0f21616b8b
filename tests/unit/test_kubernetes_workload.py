"""Workloads of the recorded pods."""

from __future__ import annotations

import pytest

from collector.kubernetes.objects import Metadata, Pod, read_list
from collector.kubernetes.workload import Workload, workload_of
from tests.api_server import GOLDEN

PODS = {pod.name: pod for pod in read_list((GOLDEN / "pods.json").read_bytes()).objects}


@pytest.mark.parametrize(
    ("pod", "expected"),
    [
        ("web-5c8c56666c-8w7j8", Workload("Deployment", "web")),
        ("db-0", Workload("StatefulSet", "db")),
        ("node-agent-tm995", Workload("DaemonSet", "node-agent")),
        ("once-6fz69", Workload("Job", "once")),
        ("crasher", None),
        ("static-web-node1", Workload("Node", "node1")),
    ],
)
def test_recorded(pod: str, expected: Workload | None) -> None:
    assert workload_of(PODS[pod]) == expected


def test_replica_set_of_nobody_stays_one() -> None:
    owners = [{"kind": "ReplicaSet", "name": "web-5c8", "controller": True}]
    assert workload_of(Pod("shop", "p", "u", owners=owners)) == Workload("ReplicaSet", "web-5c8")
    labels = {"pod-template-hash": "other"}
    assert workload_of(Pod("shop", "p", "u", owners=owners, labels=labels)) == Workload(
        "ReplicaSet", "web-5c8"
    )


def test_job_of_nobody_and_of_a_cron_job() -> None:
    asked: list[str] = []

    def owner(path: str) -> Metadata | None:
        asked.append(path)
        return Metadata("once", None, None, [{"kind": "CronJob", "name": "report", "controller": True}])

    assert workload_of(PODS["once-6fz69"], owner) == Workload("CronJob", "report")
    assert asked == ["/apis/batch/v1/namespaces/shop/jobs/once"]
    assert workload_of(PODS["once-6fz69"], lambda path: Metadata("once", None, None, None)) == Workload(
        "Job", "once"
    )
