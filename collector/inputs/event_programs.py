"""What all records tell of the program that their process runs, and when that is not to be believed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from collector.inputs.event_losses import ANY_KIND, KernelLoss
from collector.native.event_kinds import Kind
from collector.native.events import EventEncoder
from collector.native.programs import Programs

if TYPE_CHECKING:
    from collector.native.limits import Suppressed
    from collector.native.raw_records import RawRecord


# What a lost one of these did changes what a process runs, or who has its number.
DOUBTFUL = frozenset({Kind.EXEC.label, Kind.FORK.label, Kind.EXIT.label, ANY_KIND})


class ToldPrograms:
    """Execs come by one ring and connections by another: a connection is read when all that was executed
    before it has been, or its process must still have the name that goes with the program."""

    def __init__(self, encoder: EventEncoder, exempt: Sequence[str] = ()) -> None:
        self._programs = Programs()
        self._programs.exempt(exempt)
        encoder.recall(self._programs)
        self._forgotten = 0

    def read_until(self, time_ns: int) -> int:
        """The ring of processes is read up to that time; 0: it was not read to its end. What to read of the
        other ring."""
        self._programs.known_until(time_ns)
        return time_ns

    def note(self, record: RawRecord) -> None:
        """What was there before the probes."""
        self._programs.note(record)

    def take_forgotten(self) -> int:
        """Since the last look: programs of processes that live, for which there was no room."""
        before, self._forgotten = self._forgotten, self._programs.forgotten
        return self._forgotten - before

    def note_losses(self, losses: Sequence[KernelLoss], now_ns: int) -> None:
        if any(loss.kind in DOUBTFUL for loss in losses):
            self._programs.doubt(now_ns)

    def note_suppressed(self, suppressed: Suppressed, now_ns: int) -> None:
        """An exit that is not told makes doubtful only whom a number means: a storm of forks in one container
        takes nothing from what else the node runs."""
        if any(counts[Kind.EXEC] for counts in suppressed.values()):
            self._programs.doubt(now_ns)
        if any(counts[Kind.EXIT] for counts in suppressed.values()):
            self._programs.doubt_numbers(now_ns)
