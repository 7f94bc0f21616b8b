"""The fuzzers: each fuzz_NAME.c under the sanitizers, each target_NAME.py, from the seeds in seeds/NAME.

By default a fixed number of inputs, the same each time. `FUZZ_SECONDS=60` lets each target run for so long;
`pytest --hypothesis-profile=soak` for ten minutes, from another start each day. As many run at a time as
there are processors. An input that breaks a target is left in build/fuzz, to become a seed.
"""

from __future__ import annotations

import datetime
import hashlib
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import settings

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
FLAGS = [
    *("-std=c11", "-O1", "-g", "-Wall", "-Wextra", "-Werror", "-D_GNU_SOURCE"),
    *("-fsanitize=address,undefined", "-fno-sanitize-recover=all"),
    *(f"-I{ROOT}", f"-I{ROOT / 'ext'}", f"-I{HERE}", f"-I{ROOT / 'tests' / 'native'}"),
]
C_TARGETS = sorted(path.stem.removeprefix("fuzz_") for path in HERE.glob("fuzz_*.c"))
PYTHON_TARGETS = sorted(path.stem.removeprefix("target_") for path in HERE.glob("target_*.py"))
C_RUNS, PYTHON_RUNS = 50_000, 3_000
SOAK_S = 600

Result = subprocess.CompletedProcess[str]


def limit_and_start(name: str) -> tuple[str, int]:
    """How much a target is tried, and the start of its random numbers."""
    seconds = os.environ.get("FUZZ_SECONDS", "")
    if not settings().derandomize:
        return f"{seconds or SOAK_S}s", datetime.date.today().toordinal()
    steady = C_RUNS if name in C_TARGETS else PYTHON_RUNS
    return f"{seconds}s" if seconds else str(steady), 1


def objects(folder: Path) -> list[Path]:
    """ext/*.c, instrumented; the fuzzer itself must not be."""
    sources = sorted((ROOT / "ext").glob("*.c"))
    command = [os.environ.get("CC", "cc"), *FLAGS, "-fsanitize-coverage=trace-pc", "-c", *map(str, sources)]
    subprocess.run(command, cwd=folder, check=True)
    return [folder / f"{source.stem}.o" for source in sources]


def linked(target: Path, instrumented: list[Path], folder: Path) -> Path:
    program = folder / target.stem
    sources = [HERE / "fuzz.c", target, *instrumented]
    command = [os.environ.get("CC", "cc"), *FLAGS, *map(str, sources), "-lm", "-o", str(program)]
    subprocess.run(command, check=True)
    return program


def run(command: list[str], name: str, folder: Path) -> Result:
    own = folder / f"{name}-run"
    own.mkdir()
    limit, start = limit_and_start(name)
    seeds = sorted(map(str, (HERE / "seeds" / name).iterdir()))
    result = subprocess.run(
        [*command, limit, str(start), str(own), *seeds], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if (own / "broke").exists():
        result.stderr += f"\nThe input is in {keep(name, (own / 'broke').read_bytes())}"
    return result


def keep(name: str, data: bytes) -> Path:
    kept = ROOT / "build" / "fuzz" / f"{name}-{hashlib.sha256(data).hexdigest()[:12]}"
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_bytes(data)
    return kept


def chosen(items: Iterable[pytest.Item]) -> list[str]:
    """The targets whose tests are to run: one that failed is tried again, and not all with it."""
    calls = (getattr(item, "callspec", None) for item in items)
    asked = {call.params.get("target") for call in calls if call is not None}
    return [name for name in C_TARGETS + PYTHON_TARGETS if name in asked]


@pytest.fixture(scope="module")
def results(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Future[Result]]]:
    folder = tmp_path_factory.mktemp("fuzz")
    names = chosen(request.session.items)
    instrumented = objects(folder) if set(names) & set(C_TARGETS) else []
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as threads:
        started = {}
        for name in names:
            command = [sys.executable, "-m", "tests.fuzz.fuzz_python", name]
            if name in C_TARGETS:
                command = [str(linked(HERE / f"fuzz_{name}.c", instrumented, folder))]
            started[name] = threads.submit(run, command, name, folder)
        yield started


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("target", C_TARGETS + PYTHON_TARGETS)
def test_no_input_breaks(target: str, results: dict[str, Future[Result]]) -> None:
    result = results[target].result()
    assert result.returncode == 0, result.stderr
    found = re.fullmatch(r"(\d+) runs, (\d+) inputs kept\n", result.stdout)
    assert found is not None
    seeds = len(list((HERE / "seeds" / target).iterdir()))
    assert int(found[1]) > 50 * seeds
    assert int(found[2]) > 1 + seeds, "coverage led nowhere: is the instrumentation in?"


def test_there_are_targets() -> None:
    assert {"dns", "json", "logs"} <= set(C_TARGETS)
    assert {"cri", "entries", "forward", "gzip", "handshake", "multiline", "response"} <= set(PYTHON_TARGETS)


def test_only_what_is_chosen_runs(request: pytest.FixtureRequest) -> None:
    tests = {item.name: item for item in request.session.items}
    one = [item for name, item in tests.items() if name == "test_no_input_breaks[cri]"]
    assert chosen([*one, request.node]) == ["cri"] * len(one)
    assert chosen(tests.values()) == [
        name for name in C_TARGETS + PYTHON_TARGETS if f"test_no_input_breaks[{name}]" in tests
    ]


BREAKS = """
#include "fuzz.h"
int fuzz_target(const uint8_t *input, size_t bytes) { BODY }
"""


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("return bytes > 2 && input[0] == 'a' && input[1] == 'b' && input[2] != 'c';", ""),
        ("return bytes > 2 && input[1] != 'b' && input[bytes + 40];", "heap-buffer-overflow"),
        ("volatile int on = input[0] != 'a'; while (on); return bytes == 0;", "takes longer than"),
    ],
    ids=["refuses", "reads too far", "hangs"],
)
def test_what_breaks_is_kept(body: str, told: str, tmp_path: Path) -> None:
    """The fuzzer must find a fault; else the tests above prove nothing."""
    target = tmp_path / "target.c"
    target.write_text(BREAKS.replace("BODY", body))
    (tmp_path / "seed").write_bytes(b"abc")
    program = linked(target, [], tmp_path)
    arguments = [str(program), "50000", "1", str(tmp_path), str(tmp_path / "seed")]
    result = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert result.returncode != 0
    assert told in result.stderr
    assert (tmp_path / "broke").read_bytes() != b"abc"
