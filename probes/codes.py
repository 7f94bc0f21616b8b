"""Where the code of programs comes from: from the compiler, or from what it made at an earlier start."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

from probes.catalog import Dialect

Codes = dict[str, bytes]  # of programs, by tracepoint


class CompileError(Exception):
    """The text of the probes does not fit this kernel's types, in clang's words."""


class Unit(NamedTuple):
    """What is compiled at a time: of one subject, so that one that does not fit takes no other with it."""

    subject: str
    dialect: Dialect
    tracepoints: tuple[str, ...]  # whose programs are wanted


class CodeSource(Protocol):
    def compile(self, units: Sequence[Unit]) -> Iterator[tuple[Unit, Codes | CompileError]]:
        """Each unit once, as soon as it is there."""
        ...
