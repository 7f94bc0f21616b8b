"""Names that are no log files are said once each (collector.inputs.refused_names)."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import cast

import pytest

from collector.context import InputContext
from collector.inputs import refused_names
from collector.inputs.refused_names import RefusedNames
from collector.service.metrics import Metrics
from collector.service.table import TABLE


def test_each_is_said_once_and_not_without_end(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refused_names, "MAX_REFUSED", 2)
    metrics = Metrics(TABLE)
    context = SimpleNamespace(name="tail.0", log=logging.getLogger("test"), metrics=metrics)
    refused = RefusedNames(cast(InputContext, context))
    for path in ("/a", "/a", "/b", "/c", "/b"):
        refused.refuse(path, "it is a folder")
    assert caplog.messages == [f"{path} is not followed: it is a folder" for path in ("/a", "/b")]
    assert metrics.value("podwitness_tail_files_refused_total", "tail.0") == 2
