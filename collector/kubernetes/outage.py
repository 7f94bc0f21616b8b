"""A server that does not answer: who is told, and when it is asked again."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from collector.delivery.retry import Backoff

if TYPE_CHECKING:
    import logging

# Told to health when it lasts so long; a server that is replaced takes less.
OUTAGE_S = 30.0
PODS_STAY = "Pods are known as far as they were; it is asked again."


class Outage:
    """Counts failures in a row. Once is nothing, unless the server has never answered: it may be replaced.

    `meaning` says what follows from it, in a sentence.
    """

    def __init__(
        self,
        server: str,
        meaning: str,
        backoff: Backoff,
        report: Callable[[bool, str], None],
        log: logging.Logger,
    ) -> None:
        self.is_out = False
        self._server = server
        self._meaning = meaning
        self._backoff = backoff
        self._report = report
        self._log = log
        self._failures = 0
        self._since_s = 0.0
        self._has_answered = False

    def end(self) -> None:
        """The server has answered."""
        if self._failures > 1:
            self._log.info("%s answers again", self._server)
        if self._failures:
            self._report(True, "")
        self._failures, self.is_out, self._has_answered = 0, False, True

    def failed(self, reason: str, remedy: str, now_s: float) -> float:
        """Seconds to wait before it is asked again. `reason` goes on behind the server's name."""
        self._failures += 1
        if self._failures == 1:
            self._since_s = now_s
        sentence = f"{self._server} {reason}. {self._meaning} {remedy}"
        if self._failures == 2:
            self._log.warning("%s", sentence)
        if self._failures > 1 or not self._has_answered:
            self.is_out = True
        if now_s - self._since_s > OUTAGE_S:
            self._report(False, sentence)
        return self._backoff.wait_s(self._failures)
