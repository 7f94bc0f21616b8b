"""What the kernel's connection tracking tells, into the table that events are encoded with."""

from __future__ import annotations

import os

from collector.native.translations import Translations
from probes.conntrack import translations
from probes.netlink import MESSAGE_BYTES

# Of one reading: the rest is read before the next drain.
DATAGRAMS = 256


class Tracking:
    """Reads a socket that the loader of the probes has made; the descriptor stays the caller's."""

    def __init__(self, descriptor: int, known: Translations) -> None:
        self._descriptor = descriptor
        self._known = known
        self._overruns = 0

    def take_overruns(self) -> int:
        """Times that the kernel found the socket full, since the last call."""
        taken, self._overruns = self._overruns, 0
        return taken

    def read(self) -> int:
        """Takes what has come; how many connections that were."""
        count = 0
        for _ in range(DATAGRAMS):
            try:
                datagram = os.read(self._descriptor, MESSAGE_BYTES)
            except BlockingIOError:
                break
            except OSError:  # ENOBUFS: what is lost are translations, never events
                self._overruns += 1
                continue
            for one in translations(datagram):
                self._known.add(one)
                count += 1
        return count
