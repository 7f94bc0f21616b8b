"""A bench in a process of its own: the kernel counts as the peak of a child what its parent had, too."""

from __future__ import annotations

import importlib
import multiprocessing
from concurrent.futures import ProcessPoolExecutor

from tests.bench.row import Row


def measure(module: str) -> list[Row]:
    """What run() of the module measures."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        return process.submit(_run, module).result()


def _run(module: str) -> list[Row]:
    rows: list[Row] = importlib.import_module(module).run()
    return rows
