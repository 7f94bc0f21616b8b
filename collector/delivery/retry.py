"""When a delivery that failed is tried again, and when it is given up (Fluent Bit's rules)."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

UNLIMITED = None
"""A Retry_Limit that is never reached."""

Uniform = Callable[[float, float], float]
"""A random number between two bounds, as `random.uniform`."""


@dataclass(frozen=True, slots=True)
class Backoff:
    """Waiting times: full jitter between `base_s` and an exponential that ends at `cap_s`.

    The defaults are Fluent Bit's `scheduler.base` and `scheduler.cap`.
    """

    base_s: float = 5.0
    cap_s: float = 2000.0
    uniform: Uniform = random.uniform

    def wait_s(self, failures: int) -> float:
        """How long to wait after so many failures of one chunk in a row (1 or more)."""
        # 2 ** 63 already is far beyond any cap; a larger exponent would only overflow the float.
        longest_s = min(self.base_s * 2.0 ** min(failures, 63), self.cap_s)
        return self.uniform(min(self.base_s, longest_s), longest_s)


def may_retry(failures: int, limit: int | None) -> bool:
    """Whether a chunk that failed so often is tried again under this Retry_Limit."""
    return limit is UNLIMITED or failures <= limit
