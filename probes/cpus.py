"""How many CPUs the kernel may have, so many that what it keeps for each has room for all."""

from __future__ import annotations

import os
from pathlib import Path

POSSIBLE = Path("/sys/devices/system/cpu/possible")


def possible_cpus(possible: Path = POSSIBLE) -> int:
    """One more than the highest number that a CPU has or gets later.

    Where /sys does not tell, those that are configured now. Another one has no memory for what has no place,
    and tells of that without a tree.
    """
    try:
        return int(possible.read_text().replace(",", "-").split("-")[-1]) + 1
    except (OSError, ValueError):
        return os.sysconf("SC_NPROCESSORS_CONF")
