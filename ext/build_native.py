"""Assembles the extension: one cdef out of the headers, one module out of all ext/*.c.

Every ext/*.h is offered to Python unless its first line starts with
`/* Internal`. What those headers include of the project (probes/events.h) comes
along. The C preprocessor does the expanding, so a constant or a record layout
is written once. Build in place: `python setup.py build_ext --inplace`.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from pathlib import Path

from cffi import FFI

ROOT = Path(__file__).resolve().parent.parent
# __SANE_USERSPACE_TYPES__: __u64 is unsigned long long on ppc64le too.
COMPILE_FLAGS = [
    *("-std=c11", "-O2", "-Wall", "-Wextra", "-Werror", "-D_GNU_SOURCE", "-D__SANE_USERSPACE_TYPES__"),
]
INCLUDE_DIRS = ["ext", "."]

# cffi's generated wrappers have parameters they do not use; ours may not.
GENERATED_CODE_ONLY = '#pragma GCC diagnostic ignored "-Wunused-parameter"\n'

# probes/events.h speaks the kernel's types, which cffi does not know. Those of 64 bits are long long on every
# machine, which counts for arrays of them.
KERNEL_TYPES = "".join(
    f"typedef {sign}int{bits}_t __{sign or 's'}{bits};\n" for sign in ("u", "") for bits in (8, 16, 32)
)
KERNEL_TYPES += "typedef unsigned long long __u64;\ntypedef long long __s64;\n"

_LINE_MARKER = re.compile(r'^# \d+ "([^"]*)"')
_INTEGER_MACRO = re.compile(r"^#define \w+ (?:0[xX][0-9a-fA-F]+|\d+)$")
_STATIC_ASSERT = re.compile(r'_Static_assert\s*\(.*?"\s*\)\s*;', re.DOTALL)


def sources() -> list[str]:
    """All C files of the extension, relative to the project's root."""
    return sorted(str(path.relative_to(ROOT)) for path in (ROOT / "ext").glob("*.c"))


def public_headers() -> list[str]:
    """The headers that Python sees, relative to the project's root."""
    headers = sorted((ROOT / "ext").glob("*.h"))
    return [str(path.relative_to(ROOT)) for path in headers if not _is_internal(path)]


def _is_internal(header: Path) -> bool:
    return header.read_text().startswith("/* Internal")


def include_lines() -> str:
    return "".join(f'#include "{header}"\n' for header in public_headers())


def declarations() -> str:
    """The cdef: what the preprocessor leaves of the project's own public headers."""
    kept = []
    wanted = False
    for line in _preprocess(include_lines()).splitlines():
        marker = _LINE_MARKER.match(line)
        if marker:
            wanted = _is_ours(marker[1])
        elif wanted and (not line.startswith("#") or _INTEGER_MACRO.match(line)):
            kept.append(line)
    return KERNEL_TYPES + _STATIC_ASSERT.sub("", "\n".join(kept))


def _is_ours(name: str) -> bool:
    path = (ROOT / name).resolve()
    return path.is_relative_to(ROOT) and path.suffix == ".h" and not _is_internal(path)


def _preprocess(text: str) -> str:
    compiler = shlex.split(os.environ.get("CC", "cc"))
    includes = [f"-I{directory}" for directory in INCLUDE_DIRS]
    command = [*compiler, "-E", "-dD", "-std=c11", "-D_GNU_SOURCE", *includes, "-xc", "-"]
    return subprocess.run(command, input=text, cwd=ROOT, text=True, check=True, stdout=subprocess.PIPE).stdout


def make_ffi() -> FFI:
    made = FFI()
    made.cdef(declarations())
    made.set_source(
        "collector._native",
        GENERATED_CODE_ONLY + include_lines(),
        sources=sources(),
        include_dirs=INCLUDE_DIRS,
        extra_compile_args=COMPILE_FLAGS,
        depends=[str(path.relative_to(ROOT)) for path in [*ROOT.glob("ext/*.h"), ROOT / "probes/events.h"]],
    )
    return made


ffi = make_ffi()
