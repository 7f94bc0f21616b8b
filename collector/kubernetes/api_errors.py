"""Why the API server gave no answer."""

from __future__ import annotations


class ApiUnavailable(Exception):
    """It can't be reached, broke off, or can't now. The text goes on behind "the API server"."""


class ApiRefused(ApiUnavailable):
    """It answered with a status of refusal. `reason` is the server's own sentence."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(f"answered {status}: {reason}")
        self.status = status
        self.reason = reason
