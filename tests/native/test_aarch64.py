"""The C of ext/ as an aarch64 has it, NEON too: compiled for it and run by an emulator.

All checks of test_sanitized.py but that which needs an OpenSSL of that processor. `make test` leaves this
file out on an aarch64, where the other tests do it, and where gcc-multilib keeps the compiler away.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.native.test_sanitized import CHECKS, HERE, ROOT, main_program

COMPILER, EMULATOR = "aarch64-linux-gnu-gcc", "qemu-aarch64"
NEEDS_OPENSSL = "check_seal"
FLAGS = [
    *("-std=c11", "-O2", "-Wall", "-Wextra", "-Werror", "-D_GNU_SOURCE"),
    *(f"-I{ROOT}", f"-I{ROOT / 'ext'}", f"-I{HERE}"),
]


def compiled(*arguments: str | Path, folder: Path) -> None:
    command = [COMPILER, *FLAGS, *map(str, arguments)]
    made = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr


def linked(*parts: Path, folder: Path) -> Path:
    compiled("-static", *parts, "-lm", "-o", "program", folder=folder)
    return folder / "program"


def run(program: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [EMULATOR, str(program), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def objects(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """ext/*.c and the checks, by their names."""
    folder = tmp_path_factory.mktemp("objects")
    checks = [path for path in HERE.glob("check_*.c") if path.stem != NEEDS_OPENSSL]
    compiled("-c", *(ROOT / "ext").glob("*.c"), *checks, folder=folder)
    return {path.stem: path for path in folder.iterdir()}


@pytest.fixture(scope="module")
def program(objects: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("aarch64")
    main = folder / "main.c"
    main.write_text(main_program().replace(f'  {{"{NEEDS_OPENSSL}", {NEEDS_OPENSSL}}},\n', ""))
    return linked(main, *objects.values(), folder=folder)


@pytest.mark.parametrize("name", [name for name in CHECKS if name != NEEDS_OPENSSL])
def test_checks_hold(program: Path, name: str) -> None:
    result = run(program, name)
    assert (result.returncode, result.stdout) == (0, f"{name} ran\n"), result.stderr


VECTORS = """
#include <stdio.h>
#include "ext/log.h"
int main(void) { return printf("%d\\n", (int)pw_vectors()) < 0; }
"""


def test_vectors_are_used(objects: dict[str, Path], tmp_path: Path) -> None:
    """Else the checks would compare plain C with itself."""
    main = tmp_path / "main.c"
    main.write_text(VECTORS)
    assert run(linked(main, *objects.values(), folder=tmp_path)).stdout == "1\n"


def test_a_wrong_vector_is_noticed(objects: dict[str, Path], tmp_path: Path) -> None:
    """A control character that NEON takes for a plain one."""
    main, wrong = tmp_path / "main.c", tmp_path / "json_vector16.c"
    main.write_text("int check_json(void);\nint main(void) { return check_json(); }\n")
    right = (ROOT / "ext" / wrong.name).read_text()
    assert "vdupq_n_u8(0x20)" in right
    wrong.write_text(right.replace("vdupq_n_u8(0x20)", "vdupq_n_u8(0x1f)"))
    others = [path for name, path in objects.items() if name != wrong.stem]
    result = run(linked(main, wrong, *others, folder=tmp_path))
    assert (result.returncode, "not so" in result.stderr) == (1, True), "is it NEON that was checked?"
