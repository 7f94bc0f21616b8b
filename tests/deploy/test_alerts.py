"""Alerts ask for what is counted."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from collector.service.table import TABLE
from tests.deploy.manifests import ROOT

# Words of PromQL that stand where a metric could, and labels that a scrape adds.
PROMQL = {"sum", "by", "increase", "rate", "max", "time", "instance", "job", "up"}


def rules() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load((ROOT / "deploy/alerts.yaml").read_text())["groups"]
    return list(group["rules"])


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: str(rule["alert"]))
def test_rule_refers_only_to_the_table(rule: dict[str, Any]) -> None:
    expression = re.sub(r'"[^"]*"|\[\w+\]', "", rule["expr"])
    words = set(re.findall(r"[a-zA-Z_]\w*", expression)) - PROMQL
    rows = {metric.name: metric for metric in TABLE}
    used = words & rows.keys()
    assert words - used <= {label for name in used for label in rows[name].labels}
    assert used or "up{" in expression


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: str(rule["alert"]))
def test_counters_are_asked_for_their_growth(rule: dict[str, Any]) -> None:
    counters = [metric.name for metric in TABLE if metric.kind == "counter" and metric.name in rule["expr"]]
    assert all(re.search(rf"(increase|rate)\({name}", rule["expr"]) for name in counters)


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: str(rule["alert"]))
def test_rule_says_what_it_means(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in {"critical", "warning"}
    assert set(rule["annotations"]) == {"summary", "description"}
