"""What is said to the operator when podwitness can't do what was asked."""

from __future__ import annotations


class OperatorError(Exception):
    """A situation that a person has to mend.

    Three sentences: what is the matter (with the file, line, syscall or value),
    what follows from it, and what to do.
    """

    def __init__(self, problem: str, consequence: str = "", remedy: str = "") -> None:
        super().__init__(problem, consequence, remedy)
        self.problem = problem
        self.consequence = consequence
        self.remedy = remedy

    def __str__(self) -> str:
        return " ".join(part for part in (self.problem, self.consequence, self.remedy) if part)


class ConfigError(OperatorError):
    """The configuration can't be run. `problem` starts with `FILE:LINE: `."""
