"""Following against the model: any course of writes, rotations, deletions and restarts."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.model.following import STREAMS, Container, Node

CONTAINERS = 2
Action = Callable[[Node], Awaitable[None]]


def on(container: int, what: Callable[[Node, Container], Awaitable[None]]) -> Action:
    return lambda node: what(node, node.containers[container])


class Named:
    """An action with a name, so that a failing course can be read."""

    def __init__(self, name: str, act: Action) -> None:
        self.name, self.act = name, act

    def __repr__(self) -> str:
        return self.name


def write(container: int, count: int, stream: str, part: bool) -> Named:
    async def act(node: Node, one: Container) -> None:
        for _ in range(count):
            one.line(stream, part=part)

    return Named(f"write({container}, {count}, {stream!r}, {part})", on(container, act))


def rotate(container: int, late: int, compresses: bool) -> Named:
    async def act(node: Node, one: Container) -> None:
        one.rotate(late=late, compresses=compresses)

    return Named(f"rotate({container}, {late}, {compresses})", on(container, act))


def replace(container: int) -> Named:
    async def act(node: Node, one: Container) -> None:
        if one.log.exists() and not one.copies:
            await node.is_seen(one)
            one.replace()
            await node.is_seen(one)  # seen later, after a rotation, it would not be known as the heir

    return Named(f"replace({container})", on(container, act))


def delete(container: int, late: int) -> Named:
    async def act(node: Node, one: Container) -> None:
        if one.log.exists():
            await node.is_seen(one)
            if one.copies:
                await node.has_noticed_truncation(one)  # what is open ends where no copy is left
            one.delete(late=late)

    return Named(f"delete({container}, {late})", on(container, act))


def truncate(container: int) -> Named:
    async def act(node: Node, one: Container) -> None:
        # Nobody mixes truncation with renaming or copying: records that began in another file, and were not
        # acknowledged, would come again without their end.
        if one.log.exists() and not any(one.open.values()) and not one.rotations and not one.copies:
            await node.is_seen(one)
            await node.has_all()
            one.log.write_bytes(b"")

    return Named(f"truncate({container})", on(container, act))


def copy_and_truncate(container: int) -> Named:
    async def act(node: Node, one: Container) -> None:
        if one.log.exists() and one.log.stat().st_size and not one.rotations:
            await node.knows_beginning(one)
            one.copy_and_truncate()

    return Named(f"copy_and_truncate({container})", on(container, act))


def restart(acked: int, meanwhile: tuple[Named, ...]) -> Named:
    async def act(node: Node) -> None:
        await node.end(acked)
        for action in meanwhile:
            await action.act(node)
        await node.start()

    return Named(f"restart({acked}, {meanwhile})", act)


def crash(acked: int, meanwhile: tuple[Named, ...]) -> Named:
    async def act(node: Node) -> None:
        await node.crash(acked)
        for action in meanwhile:
            await action.act(node)
        await node.start()

    return Named(f"crash({acked}, {meanwhile})", act)


def pause(milliseconds: int) -> Named:
    async def act(node: Node) -> None:
        await asyncio.sleep(milliseconds / 1000)

    return Named(f"pause({milliseconds})", act)


def room(is_there: bool) -> Named:
    async def act(node: Node) -> None:
        assert node.follower is not None
        has_room = node.follower.intake.has_room
        has_room.set() if is_there else has_room.clear()

    return Named(f"room({is_there})", act)


def ack(count: int) -> Named:
    async def act(node: Node) -> None:
        assert node.follower is not None
        node.follower.intake.ack(min(count, len(node.follower.intake.open)))

    return Named(f"ack({count})", act)


containers = st.integers(0, CONTAINERS - 1)
writes = st.builds(write, containers, st.integers(1, 5), st.sampled_from(STREAMS), st.booleans())
rotations = st.one_of(
    st.builds(rotate, containers, st.integers(0, 3), st.booleans()), st.builds(copy_and_truncate, containers)
)
actions = st.one_of(
    writes,
    writes,
    rotations,
    st.builds(replace, containers),
    st.builds(delete, containers, st.integers(0, 3)),
    st.builds(truncate, containers),
    st.builds(restart, st.integers(0, 10), st.lists(st.one_of(writes, rotations), max_size=4).map(tuple)),
    st.builds(crash, st.integers(0, 10), st.lists(st.one_of(writes, rotations), max_size=4).map(tuple)),
    st.builds(pause, st.integers(1, 20)),
    st.builds(room, st.booleans()),
    st.builds(ack, st.integers(1, 10)),
)


async def live(folder: Path, course: list[Named]) -> None:
    node = Node(folder, CONTAINERS)
    await node.start()
    for action in course:
        await action.act(node)
    for container in node.containers:
        if container.log.exists():
            await node.is_seen(container)
            if container.copies:
                await node.has_noticed_truncation(container)
            container.delete(late=0)
        for stream in STREAMS:
            container.end_of(stream)
    await node.has_all()
    await node.end(acked=10**6)
    node.check()


def copied_before_its_first_turn() -> list[Named]:
    meanwhile = (
        write(1, 1, "stdout", False),
        rotate(1, 1, True),
        rotate(1, 3, True),
        write(0, 1, "stdout", True),
    )
    return [write(1, 3, "stdout", False), restart(9, meanwhile), copy_and_truncate(0)]


def opened_in_one_file_completed_in_one_that_lost_its_name() -> list[Named]:
    begun = [write(1, 2, "stderr", True), rotate(1, 1, False), room(False), replace(1)]
    return [*begun, ack(9), restart(3, ()), replace(1)]


def opened_in_a_file_that_is_compressed_before_anything_of_it_was_whole() -> list[Named]:
    begun = [restart(0, (write(1, 1, "stderr", True),)), crash(5, (rotate(1, 0, True),))]
    return [*begun, restart(4, (write(1, 5, "stdout", False),)), crash(5, (rotate(1, 1, True),))]


def opened_in_a_file_that_lost_its_name_before_a_crash() -> list[Named]:
    return [write(0, 1, "stdout", True), replace(0), crash(0, ())]


def rotated_empty_so_that_the_next_log_has_its_inode(*then: Named) -> list[Named]:
    meanwhile = (write(1, 3, "stdout", True), rotate(1, 2, True), write(0, 1, "stdout", False))
    return [restart(0, meanwhile), rotate(1, 0, True), replace(1), *then, rotate(1, 0, True)]


@given(course=st.lists(actions, min_size=1, max_size=30))
@example(course=copied_before_its_first_turn())
@example(course=opened_in_a_file_that_is_compressed_before_anything_of_it_was_whole())
@example(course=opened_in_a_file_that_lost_its_name_before_a_crash())
@example(course=rotated_empty_so_that_the_next_log_has_its_inode())
@example(course=rotated_empty_so_that_the_next_log_has_its_inode(rotate(1, 2, False)))
@example(course=opened_in_one_file_completed_in_one_that_lost_its_name())
@settings(max_examples=settings().max_examples * 5 // 3)
def test_every_record_arrives_once_and_in_order(course: list[Named]) -> None:
    with tempfile.TemporaryDirectory() as name:
        asyncio.run(live(Path(name), course))
