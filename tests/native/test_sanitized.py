"""All C of ext/ under AddressSanitizer, UndefinedBehaviorSanitizer and LeakSanitizer.

Each tests/native/check_NAME.c defines `int check_NAME(void)` (see check.h). They are
linked with ext/*.c into one program without Python.
"""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
FLAGS = [
    *("-std=c11", "-O1", "-g", "-Wall", "-Wextra", "-Werror", "-D_GNU_SOURCE"),
    *("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer"),
    *(f"-I{ROOT}", f"-I{ROOT / 'ext'}", f"-I{HERE}"),
]
OPTIONS = {
    "ASAN_OPTIONS": "detect_leaks=1:detect_stack_use_after_return=1:strict_string_checks=1",
    "UBSAN_OPTIONS": "print_stacktrace=1",
}
CHECKS = sorted(path.stem for path in HERE.glob("check_*.c"))

HARMFUL = {
    "heap-buffer-overflow": "volatile char *volatile p = malloc(4); p[n + 3] = 1; free((void *)p);",
    "signed integer overflow": "volatile int most = 2147483647; most = most + n;",
    "detected memory leaks": "char *volatile p; for (int i = 0; i < 100; i++) p = malloc(4); (void)p;",
}


def build(out: Path, *sources: Path | str, flags: tuple[str, ...] = ()) -> Path:
    command = [os.environ.get("CC", "cc"), *FLAGS, *flags, *map(str, sources), "-lm", "-o", str(out)]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    return out


def run(program: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **OPTIONS}
    return subprocess.run(
        [str(program), *arguments], capture_output=True, text=True, check=False, env=environment
    )


def main_program() -> str:
    declared = "".join(f"int {name}(void);\n" for name in CHECKS)
    table = "".join(f'  {{"{name}", {name}}},\n' for name in CHECKS)
    return f"""
#include <stdio.h>
#include <string.h>
{declared}
static const struct {{ const char *name; int (*check)(void); }} CHECKS[] = {{
{table}}};
int main(int count, char **names) {{
  int failed = count != 2;
  for (unsigned i = 0; i < sizeof CHECKS / sizeof *CHECKS; i++)
    if (count == 2 && strcmp(names[1], CHECKS[i].name) == 0) {{
      failed |= CHECKS[i].check();
      printf("%s ran\\n", CHECKS[i].name);
    }}
  return failed;
}}
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sanitized")
    main = folder / "main.c"
    main.write_text(main_program())
    sources = sorted((ROOT / "ext").glob("*.c")) + sorted(HERE.glob("check_*.c"))
    return build(folder / "checks", main, *sources)


@pytest.mark.parametrize("name", CHECKS)
def test_no_report(program: Path, name: str) -> None:
    result = run(program, name)
    assert result.returncode == 0, result.stderr
    assert result.stdout == f"{name} ran\n"
    assert not re.search(r"Sanitizer|runtime error", result.stderr), result.stderr


def test_the_log_core_is_among_the_checks() -> None:
    assert "check_logs" in CHECKS


@pytest.mark.parametrize("report", HARMFUL)
def test_sanitizers_are_awake(report: str, tmp_path: Path) -> None:
    """A report must fail the program here; else the tests above prove nothing."""
    source = tmp_path / "harmful.c"
    source.write_text(
        f"#include <stdlib.h>\nint main(int n, char **v) {{ (void)v; {HARMFUL[report]} return 0; }}\n"
    )
    result = run(build(tmp_path / "harmful", source, flags=("-Wno-error",)))
    assert result.returncode != 0
    assert report in result.stderr
