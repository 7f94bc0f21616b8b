"""What the code of the probes depends on: where any of it differs, they are compiled anew."""

from __future__ import annotations

import hashlib
import json
import os
import re
from importlib.util import find_spec
from pathlib import Path

from probes.btf_files import BTF_DIRECTORY, module_files
from probes.exchange import Request

FORMAT = 1
SOURCE_DIRECTORY = Path(__file__).resolve().parent
# Python that decides about the code. What only loads it may change.
MADE_BY = (
    "btf.py",
    "btf_files.py",
    "cache_key.py",
    "catalog.py",
    "choice.py",
    "compiler.py",
    "headers.py",
    "kept_code.py",
    "side_by_side.py",
    "syscalls.py",
)
_VERSION = re.compile(r"__version__ *= *['\"]([^'\"]+)")


def key_of(request: Request, btf_directory: Path = BTF_DIRECTORY) -> str:
    """64 hexadecimal digits. Raises OSError.

    The request counts as a whole: subjects and the order in which they are compiled, the size of the ring,
    which is a number in the code, and what is forced.
    """
    kernel = os.uname()
    types = [btf_directory / "vmlinux", *module_files(btf_directory)]
    facts = [
        FORMAT,
        [kernel.release, kernel.machine, os.sysconf("SC_PAGE_SIZE")],
        [[path.name, _digest(path)] for path in types],
        [[path.name, _digest(path)] for path in _sources()],
        request.encode().decode(),
    ]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def _sources() -> list[Path]:
    texts = [path for path in SOURCE_DIRECTORY.iterdir() if path.suffix in (".c", ".h")]
    return sorted([*texts, *(SOURCE_DIRECTORY / name for name in MADE_BY)])


def _digest(path: Path) -> str:
    with path.open("rb", buffering=0) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def compiler_version() -> str:
    """Of the BCC that would be imported, without doing so; "" when there is none."""
    spec = find_spec("bcc")
    if spec is None or spec.origin is None:
        return ""
    try:
        said = (Path(spec.origin).parent / "version.py").read_text()
    except OSError:
        return spec.origin
    found = _VERSION.search(said)
    return found[1] if found else said
