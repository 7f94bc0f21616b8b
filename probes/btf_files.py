"""Where the running kernel describes its types."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

BTF_DIRECTORY = Path("/sys/kernel/btf")
# Modules whose types the probes want where they are not built in.
MODULES = ("overlay",)


def module_files(directory: Path = BTF_DIRECTORY) -> Iterator[Path]:
    """Of the wanted modules that are loaded."""
    return (directory / module for module in MODULES if (directory / module).exists())
