"""collector.delivery.spool_gauges: an output's place in the spool, as the metrics have it."""

from __future__ import annotations

import logging
import time

from collector.delivery.outlet import Outlet
from collector.delivery.spool_gauges import set_gauges
from collector.service.metrics import Metrics
from collector.service.table import TABLE
from tests.unit.routing import Recorder
from tests.unit.spool_routing import to


def test_what_waits_how_long_and_how_much_room_there_is() -> None:
    metrics, outlet = Metrics(TABLE), Outlet(to(Recorder(), limit=1000), 1, logging.getLogger("test"))
    outlet.shelf.put("t", "ebpf.0", 2, 3, 250)
    set_gauges(metrics, outlet, 250, time.time_ns() - 5_000_000_000)
    assert metrics.value("podwitness_spool_bytes", "out.0") == 250
    assert metrics.value("podwitness_spool_limit_bytes", "out.0") == 1000
    assert metrics.value("podwitness_spool_chunks", "out.0") == 2
    assert metrics.value("fluentbit_output_chunk_available_capacity_percent", "out.0") == 75
    assert 5 <= metrics.value("podwitness_spool_oldest_seconds", "out.0") < 60
    set_gauges(metrics, outlet, 2000, 0)
    assert metrics.value("fluentbit_output_chunk_available_capacity_percent", "out.0") == 0
    assert metrics.value("podwitness_spool_oldest_seconds", "out.0") == 0
