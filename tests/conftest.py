"""Rules for all tests: what can't run fails, and a busy machine's clock judges no property test."""

from __future__ import annotations

import os
from collections.abc import Generator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# Read when grpc is imported: its handlers of fork abort a child that tests of the kernel make afterwards.
os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"

HERE = Path(__file__).parent
# Folders whose tests touch the kernel or a container runtime; the marker of the same name is put on them.
ROOT_FOLDERS = ("kernel", "containers")

# The same examples every time, so that a submission is not stopped by a case that it did not bring.
# New examples are looked for by `make soak`.
settings.register_profile(
    "steady",
    deadline=None,
    derandomize=True,
    max_examples=60,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.register_profile("soak", parent=settings.get_profile("steady"), derandomize=False, max_examples=3000)
settings.load_profile("steady")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        folder = item.path.relative_to(HERE).parts[0]
        if folder in ROOT_FOLDERS:
            item.add_marker(folder)


def pytest_runtest_setup(item: pytest.Item) -> None:
    needs_root = any(item.get_closest_marker(name) for name in ROOT_FOLDERS)
    if needs_root and os.geteuid() != 0:
        pytest.fail("needs root: run it as root (make test)", pytrace=False)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.skipped and not hasattr(report, "wasxfail"):
        _refuse_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    if report.skipped:
        _refuse_skip(report)
    return report


def _refuse_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    report.outcome = "failed"
    report.longrepr = f"{reason}\nA test that did not run proves nothing: make it run here, or remove it."
