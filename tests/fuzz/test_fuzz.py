"""Each fuzz_NAME.c beside this file runs from the seeds in seeds/NAME, under the sanitizers.

By default a fixed number of inputs, the same each time; `pytest --hypothesis-profile=soak`
runs forty times as many, from another start each day.
"""

from __future__ import annotations

import datetime
import os
import re
import subprocess
from pathlib import Path

import pytest
from hypothesis import settings

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
FLAGS = [
    *("-std=c11", "-O1", "-g", "-Wall", "-Wextra", "-Werror", "-D_GNU_SOURCE"),
    *("-fsanitize=address,undefined", "-fno-sanitize-recover=all"),
    *(f"-I{ROOT}", f"-I{ROOT / 'ext'}", f"-I{ROOT / 'tests' / 'native'}"),
]
TARGETS = sorted(path.stem.removeprefix("fuzz_") for path in HERE.glob("fuzz_*.c"))
STEADY_RUNS = 50_000


def runs_and_start() -> tuple[int, int]:
    if settings().derandomize:
        return STEADY_RUNS, 1
    return 40 * STEADY_RUNS, datetime.date.today().toordinal()


def objects(folder: Path) -> list[Path]:
    """ext/*.c, instrumented; the fuzzer itself must not be."""
    sources = sorted((ROOT / "ext").glob("*.c"))
    command = [os.environ.get("CC", "cc"), *FLAGS, "-fsanitize-coverage=trace-pc", "-c", *map(str, sources)]
    subprocess.run(command, cwd=folder, check=True)
    return [folder / f"{source.stem}.o" for source in sources]


@pytest.fixture(scope="module")
def instrumented(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return objects(tmp_path_factory.mktemp("fuzz"))


@pytest.mark.parametrize("target", TARGETS)
def test_no_input_breaks(target: str, instrumented: list[Path], tmp_path: Path) -> None:
    program = tmp_path / target
    sources = [HERE / "fuzz.c", HERE / f"fuzz_{target}.c", *instrumented]
    subprocess.run(
        [os.environ.get("CC", "cc"), *FLAGS, *map(str, sources), "-lm", "-o", str(program)], check=True
    )
    runs, start = runs_and_start()
    seeds = sorted(map(str, (HERE / "seeds" / target).iterdir()))
    result = subprocess.run(
        [str(program), str(runs), str(start), *seeds], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    found = re.fullmatch(r"(\d+) runs, (\d+) inputs kept\n", result.stdout)
    assert found is not None
    assert int(found[1]) == runs
    assert int(found[2]) > 2 * len(seeds), "coverage led nowhere: is the instrumentation in?"


def test_there_are_targets() -> None:
    assert {"json", "logs"} <= set(TARGETS)
