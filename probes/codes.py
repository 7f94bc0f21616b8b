"""Where the code of programs comes from: from the compiler, or from what it made at an earlier start."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from probes.catalog import Dialect

CodeOf = Callable[[str], bytes]  # from a tracepoint's name to its program


class CompileError(Exception):
    """The text of the probes does not fit this kernel's types, in clang's words."""


class CodeSource(Protocol):
    def compile(self, subjects: Sequence[str], dialect: Dialect) -> CodeOf:
        """Raises CompileError. The code stays valid as long as the function that is returned."""
        ...
