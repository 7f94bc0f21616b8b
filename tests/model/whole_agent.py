"""What the whole agent owes its outputs, whatever happens to it: the model that it is held to.

A `Node` has containers that write logs, and one life of the agent after the other over the same files. Of
its outputs `steady` at most is slow, `outages` fails and hangs, `moody` rejects, gives up and
acknowledges late. Each record that was written has to arrive at each of them, in the order of its stream,
but for what is told as lost; more than once only if it was under way when a life ended or an acknowledgement
was lost, and then in the chunk that it was in before.
"""

from __future__ import annotations

import contextlib
import itertools
import multiprocessing
import os
import signal
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from collector.delivery.losses import LOSS_TAG
from collector.entries import unpack_entries
from tests.model.agent_life import Answer, Arrived, Done, Kept, live
from tests.model.following import STREAMS, Container
from tests.polling import until

OUTPUTS = ("steady", "outages", "moody")
CAUSES = {"outages": {"storage_limit"}, "moody": {"rejected", "retry_limit"}}
# All rows of `outages` where little is to fit; a row of one record is some 350 bytes.
SMALL_LIMIT = "3000"
LARGE_LIMIT = "1G"
DEADLINE_S = 15.0
# What a kill is to come before has this long to happen.
FATAL_S = 0.03

_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["tests.model.agent_life"])

Record = str


class Log(Container):
    """Knows its records in the order in which they became whole, over both streams."""

    def __init__(self, log: Path) -> None:
        super().__init__(log)
        self.order: list[Record] = []
        self.lacks_parts = False  # of some record the first parts are in a file without a name
        self.was_compressed = False

    def end_of(self, stream: str) -> None:
        if self.open[stream]:
            self.order.append(self.open[stream])
        super().end_of(stream)

    def compress(self) -> None:
        self.was_compressed = True
        super().compress()

    def replace(self) -> None:
        super().replace()
        self.lacks_parts |= self.is_open_in_gone


@dataclass
class Output:
    """What its far end has."""

    name: str
    arrivals: list[tuple[bytes, tuple[Record, ...]]] = field(default_factory=list)  # id, what was taken
    done: set[Record] = field(default_factory=set)
    given: dict[bytes, tuple[Record, ...]] = field(default_factory=dict)  # tried or taken
    repeatable: Counter[Record] = field(default_factory=Counter)
    unacknowledged: set[Record] = field(default_factory=set)
    doubtful: set[Record] = field(default_factory=set)  # taken, which the agent was not told
    required: dict[Record, bytes] = field(default_factory=dict)  # the id that a repetition has to have
    told: dict[bytes, list[dict[str, Any]]] = field(default_factory=dict)

    def records(self) -> list[Record]:
        return [record for _, records in self.arrivals for record in records]


class Node:
    def __init__(self, folder: Path, containers: int, limit: str) -> None:
        self.folder, self.limit = folder, limit
        self.logs = [Log(folder / f"{name}.log") for name in "abcdef"[:containers]]
        self.outputs = {name: Output(name) for name in OUTPUTS}
        self.entries: dict[bytes, bytes] = {}
        self.kept: dict[bytes, set[tuple[tuple[int, int], int, int]]] = defaultdict(set)
        self.committed: set[Record] = set()
        self.lives = 0
        self.refresh_s = 60
        self.problems: list[str] = []
        self._process: multiprocessing.process.BaseProcess | None = None

    # Lives

    @property
    def is_running(self) -> bool:
        return self._process is not None

    def configure(self) -> None:
        outputs = "".join(
            f"[OUTPUT]\n    Name null\n    Alias {name}\n    Match *\n    Retry_Limit {retries}\n"
            f"    storage.total_limit_size {limit}\n"
            for name, retries, limit in (
                ("steady", "no_limits", LARGE_LIMIT),
                ("outages", "no_limits", self.limit),
                ("moody", "3", LARGE_LIMIT),
            )
        )
        (self.folder / "podwitness.conf").write_text(
            f"[SERVICE]\n    Flush 0.02\n    Grace 0.1\n    Host_Root {self.folder}\n    Cri_Socket off\n"
            f"    storage.path {self.folder}/spool\n    scheduler.base 0.002\n    scheduler.cap 0.01\n"
            f"[INPUT]\n    Name tail\n    Path {self.folder}/*.log\n    Tag *\n    multiline.parser cri\n"
            f"    Read_from_Head On\n    Rotate_Wait 5\n    Refresh_Interval {self.refresh_s}\n"
            f"    DB {self.folder}/positions.db\n" + outputs
        )

    def start(self) -> None:
        self.configure()
        self._pipe, its = _FORKS.Pipe()
        self._process = _FORKS.Process(target=live, args=(self.folder, its), daemon=True)
        self._process.start()
        its.close()
        self.lives += 1
        self.until(lambda: self.ask("running"), "the first look is over")

    def stop(self) -> None:
        """SIGTERM."""
        self.finish_what_lacks_parts()
        self._end(signal.SIGTERM)
        assert self._process is None
        done_by_all = self._done_by_all()
        for output in self.outputs.values():
            settled = output.done if self.limit == LARGE_LIMIT else done_by_all
            self._note_repeatable(output, settled)

    def kill(self, point: str = "", count: int = 0, meanwhile: Callable[[], None] = lambda: None) -> None:
        """SIGKILL, now or before the `count`th write of a kind, which `meanwhile` may lead to.

        What stands only in files without a name would be lost, so that is made safe before.
        """
        self.finish_what_lacks_parts()
        if any(log.has_gone for log in self.logs):
            self.until(lambda: self.ask("is_safe"), "all of files without a name is safe")
            for log in self.logs:
                log.has_gone = False
        if point:
            with contextlib.suppress(EOFError, OSError):  # dead already
                self.ask("die", point, count)
        meanwhile()
        if point:
            assert self._process is not None
            self._process.join(FATAL_S)
        self._end(signal.SIGKILL)
        for output in self.outputs.values():
            self._note_repeatable(output, self.committed)

    def _end(self, how: signal.Signals) -> None:
        assert self._process is not None
        assert self._process.pid is not None
        with contextlib.suppress(ProcessLookupError):  # dead already
            os.kill(self._process.pid, how)
        with contextlib.suppress(EOFError, OSError):
            while True:
                self._note(self._pipe.recv())
        self._process.join()
        if how == signal.SIGTERM:
            assert self._process.exitcode == 0, self._process.exitcode
        self._pipe.close()
        self._process = None

    def abandon(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.join()
        for log in self.logs:
            log.close()

    def reload(self) -> None:
        """The input ends, and another one goes on for it."""
        for log in self.logs:
            if log.is_open_in_gone:
                log.finish()
        self.until_nothing("unread")
        before = self.ask("reloads")
        self.refresh_s += 1
        self.configure()
        assert self._process is not None
        assert self._process.pid is not None
        os.kill(self._process.pid, signal.SIGHUP)
        self.until(lambda: self.ask("reloads") > before, "the new configuration runs")
        self.until(lambda: self.ask("running"), "the first look of the new input is over")

    def finish_what_lacks_parts(self) -> None:
        """A record whose first parts are in a file without a name can't be read again."""
        if not any(log.lacks_parts for log in self.logs):
            return
        for log in self.logs:
            if log.lacks_parts:
                log.finish()
                log.lacks_parts = False
        for name in OUTPUTS:
            self.behave(name, "takes")
        self.until_nothing("undelivered")
        self.commit()

    # What is asked of the life

    def ask(self, *what: object) -> Any:
        self._pipe.send(what)
        while True:
            news = self._pipe.recv()
            if isinstance(news, Answer):
                return news.value
            self._note(news)

    def until(self, probe: Callable[[], object], what: str) -> None:
        try:
            until(probe, what, DEADLINE_S, every_s=0.002)
        except EOFError:
            raise AssertionError(f"the agent ended before {what}") from None

    def until_nothing(self, what: str) -> None:
        """Until nothing is unread, or undelivered. Files are read while one output has room."""
        self.behave("steady", "takes")
        left: list[str] = []

        def is_nothing() -> bool:
            left[:] = self.ask(what)
            return not left

        try:
            self.until(is_nothing, f"nothing is {what}")
        except AssertionError as error:
            raise AssertionError(f"{what}: {left}") from error

    def behave(self, output: str, how: str) -> None:
        self.ask("behave", output, how)

    def commit(self) -> None:
        """What all outputs had before the positions were written does not come again."""
        self.ask("running")  # takes note of what is done
        settled = self._done_by_all()
        self.ask("commit")
        for log in self.logs:
            self.committed.update(itertools.takewhile(settled.__contains__, log.order))

    def _done_by_all(self) -> set[Record]:
        return set.intersection(*(output.done for output in self.outputs.values()))

    def is_seen(self, log: Log) -> None:
        status = log.log.stat()
        self.until(lambda: self.ask("is_followed", status.st_dev, status.st_ino), f"{log.log} is open")

    def knows_beginning(self, log: Log) -> None:
        """By its first bytes the agent knows a copy."""
        status = log.log.stat()
        self.until(
            lambda: (self.ask("place", status.st_dev, status.st_ino) or (0, b""))[1], "its head is known"
        )

    def has_noticed_truncation(self, log: Log) -> None:
        status, content = log.log.stat(), log.log.read_bytes()

        def is_noticed() -> bool:
            offset, head = self.ask("place", status.st_dev, status.st_ino) or (len(content) + 1, b"")
            return offset <= len(content) and content.startswith(head)

        self.until(is_noticed, f"the truncation of {log.log} is noticed")

    # What is noted

    def _note(self, news: object) -> None:
        if isinstance(news, Arrived):
            self._arrived(self.outputs[news.output], news)
        elif isinstance(news, Done):
            output = self.outputs[news.output]
            output.done.update(output.given.get(news.id, ()))
            output.unacknowledged.difference_update(output.given.get(news.id, ()))
        elif isinstance(news, Kept):
            self.kept[news.id].add((news.file, news.start, news.end))

    def _arrived(self, output: Output, news: Arrived) -> None:
        if self.entries.setdefault(news.id, news.entries) != news.entries:
            self.problems.append(f"{output.name}: other records under the id {news.id.hex()}")
        records = [dict(pairs) for _, pairs in unpack_entries(news.entries)]
        if news.tag == LOSS_TAG:
            if news.taken == len(records):
                output.told[news.id] = [record["podwitness"]["loss"] for record in records]
            return
        texts = tuple(str(record["log"]) for record in records)
        for text in texts:
            wanted = output.required.get(text, news.id)
            if wanted != news.id and not self._log_of(text).was_compressed:
                self.problems.append(f"{output.name}: {text} again, under another id than {wanted.hex()}")
        output.given[news.id] = texts
        output.doubtful.update(output.unacknowledged.intersection(texts))
        if news.taken >= 0:
            taken = texts[: news.taken]
            output.repeatable.update(one for one in taken if one in output.unacknowledged)
            output.unacknowledged.update(taken)
            output.arrivals.append((news.id, taken))

    def _note_repeatable(self, output: Output, settled: set[Record]) -> None:
        """A life has ended: what was not settled may come again, and in which chunk."""
        output.doubtful |= output.unacknowledged
        output.unacknowledged.clear()
        output.done &= settled
        output.repeatable.update(record for record in output.records() if record not in settled)
        output.required = {
            record: chunk_id
            for chunk_id, records in output.given.items()
            if self.kept[chunk_id] and not self._is_contested(chunk_id)
            for record in records
        }

    def _is_contested(self, chunk_id: bytes) -> bool:
        """Whether another stretch has some of the same bytes: then only one of them can be read again."""
        return any(
            other != chunk_id and file == its_file and start < its_end and its_start < end
            for file, start, end in self.kept[chunk_id]
            for other, places in self.kept.items()
            for its_file, its_start, its_end in places
        )

    def _log_of(self, record: Record) -> Log:
        name = record.split(" ", 2)[1]
        return next(log for log in self.logs if log.log.stem == name)

    # What has to hold

    def settle(self) -> None:
        """Everything works, all containers end, and all that is owed arrives."""
        if not self.is_running:
            self.start()
        for name in OUTPUTS:
            self.behave(name, "takes")
        for log in self.logs:
            if log.log.exists():
                self.is_seen(log)
                if log.copies:
                    self.has_noticed_truncation(log)
                log.delete(late=0)
            for stream in STREAMS:
                log.end_of(stream)
        self.until_nothing("undelivered")
        self.stop()

    def check(self) -> None:
        problems = [*self.problems, *itertools.chain(*map(self._problems_of, self.outputs.values()))]
        assert not problems, "\n".join(problems)

    def _problems_of(self, output: Output) -> Iterator[str]:
        wanted = {record for log in self.logs for record in log.order}
        received = output.records()
        if strange := set(received) - wanted:
            yield f"{output.name}: never written: {strange}"
        surplus = Counter(received) - Counter(wanted) - output.repeatable
        if surplus:
            yield f"{output.name}: too often: {surplus}"
        lost = self._lost(output.name)
        for log in self.logs:
            missing = [record for record in log.order if record not in set(received)]
            told = lost[_tag(log.log)]
            if len(missing) > told:
                yield f"{output.name}: {missing} did not arrive, {told} told as lost"
            if self.lives == 1 and told > len(missing) + len(output.doubtful):
                yield f"{output.name}: {told} told as lost, {missing} did not arrive"
            # What was told as lost may come after all, where a life ended before its position was passed.
            if not told or self.lives == 1:
                yield from _out_of_order(output.name, log, received)

    def _lost(self, name: str) -> Counter[str]:
        """By stream, as told to the output that always listens."""
        lost: Counter[str] = Counter()
        for row in itertools.chain(*self.outputs["steady"].told.values()):
            if row["cause"] not in CAUSES.get(row["output"], ()):
                self.problems.append(f"lost: {row}")
            if row["output"] == name:
                lost[row["stream"]] += row["records"]
        return lost


def _out_of_order(name: str, log: Log, received: list[Record]) -> Iterator[str]:
    first = dict.fromkeys(received)
    for stream in STREAMS:
        texts = [text for text in first if text in set(log.expected[stream])]
        wanted = [text for text in log.expected[stream] if text in first]
        if texts != wanted:
            at = next(at for at, pair in enumerate(zip(texts, wanted, strict=True)) if pair[0] != pair[1])
            yield f"{name}: out of order: {texts[at : at + 4]}, not {wanted[at : at + 4]}"


def _tag(log: Path) -> str:
    return str(log).lstrip("/").replace("/", ".")
