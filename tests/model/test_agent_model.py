"""The whole agent against the model: any course of writes, rotations, outages, stops and kills."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import note, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from tests.model.following import STREAMS
from tests.model.whole_agent import LARGE_LIMIT, OUTPUTS, SMALL_LIMIT, Log, Node

CONTAINERS = 2

containers = st.integers(0, CONTAINERS - 1)
streams = st.sampled_from(STREAMS)


def running(machine: AgentMachine) -> bool:
    return machine.node.is_running


class AgentMachine(RuleBasedStateMachine):
    node: Node

    @initialize(limit=st.sampled_from((SMALL_LIMIT, LARGE_LIMIT)))
    def begin(self, limit: str) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.node = Node(Path(self.folder.name), CONTAINERS, limit)
        self.node.start()

    def log(self, container: int) -> Log:
        return self.node.logs[container]

    # What containers and their runtime do

    @rule(container=containers, count=st.integers(1, 5), stream=streams, part=st.booleans())
    def write(self, container: int, count: int, stream: str, part: bool) -> None:
        for _ in range(count):
            self.log(container).line(stream, part=part)

    def write_some(self, container: int, lines: int) -> None:
        for number in range(lines):
            self.log(container).line(STREAMS[number % 2], part=False)

    @rule(container=containers, count=st.integers(5, 40), stream=streams)
    def write_many(self, container: int, count: int, stream: str) -> None:
        self.write(container, count, stream, False)

    @rule(container=containers, late=st.integers(0, 3), compresses=st.booleans())
    def rotate(self, container: int, late: int, compresses: bool) -> None:
        self.log(container).rotate(late=late, compresses=compresses)

    @rule(container=containers)
    def copy_and_truncate(self, container: int) -> None:
        log = self.log(container)
        if log.log.exists() and log.log.stat().st_size and not log.rotations:
            if self.node.is_running:
                self.node.knows_beginning(log)
            log.copy_and_truncate()

    @precondition(running)
    @rule(container=containers)
    def truncate(self, container: int) -> None:
        log = self.log(container)
        # Nobody mixes truncation with renaming or copying.
        if log.log.exists() and not any(log.open.values()) and not log.rotations and not log.copies:
            self.node.is_seen(log)
            self.node.until_nothing("unread")
            log.log.write_bytes(b"")
            self.node.has_noticed_truncation(log)
            log.has_gone = True

    @precondition(running)
    @rule(container=containers)
    def replace(self, container: int) -> None:
        log = self.log(container)
        if log.log.exists() and not log.copies:
            self.node.is_seen(log)
            log.replace()
            self.node.is_seen(log)  # seen later, after a rotation, it would not be known as the heir

    @precondition(running)
    @rule(container=containers, late=st.integers(0, 3))
    def delete(self, container: int, late: int) -> None:
        log = self.log(container)
        if log.log.exists():
            self.node.is_seen(log)
            if log.copies:
                self.node.has_noticed_truncation(log)  # what is open ends where no copy is left
            log.delete(late=late)

    # What the far ends do

    @precondition(running)
    @rule(how=st.sampled_from(("takes", "refuses", "hangs", "loses acks", "acks late")))
    def outage(self, how: str) -> None:
        self.node.behave("outages", how)

    @precondition(running)
    @rule(how=st.sampled_from(("takes", "rejects", "rejects half", "loses acks", "acks late")))
    def mood(self, how: str) -> None:
        self.node.behave("moody", how)

    @precondition(running)
    @rule(how=st.sampled_from(("takes", "hangs", "acks late")))
    def all_of_them(self, how: str) -> None:
        """When none takes anything the agent has no room, and files wait."""
        for name in OUTPUTS:
            self.node.behave(name, how)

    # What becomes of the agent

    @precondition(running)
    @rule()
    def commit(self) -> None:
        self.node.commit()

    @precondition(running)
    @rule()
    def catch_up(self) -> None:
        self.node.until_nothing("unread")

    @precondition(running)
    @rule()
    def reload(self) -> None:
        self.node.reload()

    @precondition(running)
    @rule()
    def stop(self) -> None:
        self.node.stop()

    @precondition(running)
    @rule(container=containers, lines=st.integers(0, 6), commits=st.booleans())
    def kill(self, container: int, lines: int, commits: bool) -> None:
        self.write_some(container, lines)
        if commits:
            self.node.until_nothing("unread")
            self.node.commit()
        self.node.kill()

    @precondition(running)
    @rule(
        point=st.sampled_from(("statement", "delivery", "stretch")),
        count=st.integers(1, 12),
        container=containers,
        lines=st.integers(0, 6),
    )
    def kill_before(self, point: str, count: int, container: int, lines: int) -> None:
        self.node.kill(point, count, lambda: self.write_some(container, lines))

    @precondition(lambda self: not self.node.is_running)
    @rule()
    def start(self) -> None:
        self.node.start()

    def teardown(self) -> None:
        if not hasattr(self, "node"):
            return
        try:
            self.node.settle()
            self.node.check()
        except BaseException:
            note((self.node.folder / "agent.txt").read_text())
            raise
        finally:
            self.node.abandon()
            self.folder.cleanup()


TestAgent = AgentMachine.TestCase
TestAgent.settings = settings(stateful_step_count=40, max_examples=min(settings().max_examples, 2000))
