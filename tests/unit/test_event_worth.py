"""Which kernel events are dropped first."""

from __future__ import annotations

from collector.delivery.chunk import Worth
from collector.inputs.event_worth import worth_of_tags


def test_connections_are_worth_least_and_a_shared_tag_as_much_as_its_best() -> None:
    tags = {"network": "kernel.network", "process": "kernel.process", "privilege": "kernel.privilege"}
    assert worth_of_tags(tags) == {
        "kernel.network": Worth.FLOW,
        "kernel.process": Worth.WITNESS,
        "kernel.privilege": Worth.WITNESS,
    }
    assert worth_of_tags({"process": "kernel", "network": "kernel"}) == {"kernel": Worth.WITNESS}
    assert worth_of_tags({"network": "kernel", "dns": "kernel"}) == {"kernel": Worth.FLOW}
