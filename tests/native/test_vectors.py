"""The vectors of the other architecture: its code is compiled here, though it can't run."""

from __future__ import annotations

import platform
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
OTHER = {"x86_64": "aarch64-linux-gnu", "aarch64": "x86_64-linux-gnu"}


def compiled(source: str, target: str, folder: Path) -> str:
    """Names that the object file defines. The C library's headers are this machine's."""
    (folder / "gnu").mkdir(exist_ok=True)
    for stubs in ("stubs-32.h", "stubs-64.h", "stubs-lp64.h"):
        (folder / "gnu" / stubs).touch()
    built = folder / "built.o"
    system = ("/usr/include", f"/usr/include/{platform.machine()}-linux-gnu", str(folder))
    headers = [f"-I{ROOT / 'ext'}", "-nostdlibinc", *(f"-isystem{path}" for path in system)]
    flags = ["-std=c11", "-O2", "-Wall", "-Wextra", "-Werror", "-D_GNU_SOURCE"]
    command = [
        "clang",
        f"--target={target}",
        *flags,
        *headers,
        "-c",
        str(ROOT / "ext" / source),
        "-o",
        str(built),
    ]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    return subprocess.run(["nm", str(built)], capture_output=True, text=True, check=True).stdout


def test_vectors_of_the_other_architecture_compile(tmp_path: Path) -> None:
    target = OTHER[platform.machine()]
    assert " T pw_json_object_16" in compiled("json_vector16.c", target, tmp_path)
    assert " T pw_json_object_plain" in compiled("json_plain.c", target, tmp_path)
    assert "pw_json_object_32" not in compiled("json_vector32.c", target, tmp_path)
