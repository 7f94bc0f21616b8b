"""The values of the metrics table."""

from __future__ import annotations

import pytest

from collector.service.metrics import Metric, Metrics

ROWS = (Metric("a_total", "counter", ("name",), "A."), Metric("b", "gauge", (), "B."))


def test_counting() -> None:
    metrics = Metrics(ROWS)
    metrics.add("a_total", "x")
    metrics.add("a_total", "x", by=2)
    metrics.add("a_total", "y")
    metrics.set("b", to=7)
    metrics.set("b", to=5)
    assert (metrics.value("a_total", "x"), metrics.total("a_total"), metrics.value("b")) == (3, 4, 5)
    assert [(row.name, labels, value) for row, labels, value in metrics.samples()] == [
        ("a_total", ("x",), 3),
        ("a_total", ("y",), 1),
        ("b", (), 5),
    ]


def test_what_the_table_does_not_have_is_an_error() -> None:
    metrics = Metrics(ROWS)
    with pytest.raises(KeyError):
        metrics.add("c_total")
    with pytest.raises(KeyError, match="takes labels"):
        metrics.add("a_total")
    with pytest.raises(KeyError, match="takes labels"):
        metrics.set("b", "x", to=1)
