"""The router: routes, bounds, order, retries, positions, losses, the end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.delivery.chunk import Chunk, FileKey, Position, chunk_id
from collector.delivery.losses import LOSS_TAG, Loss
from collector.delivery.router import CHUNK_OVERHEAD_BYTES
from collector.entries import unpack_entries
from collector.plugin import DeliveryError
from tests.unit.routing import Recorder, behind, chunk, logs, never, refuse, reject, route, routing


def test_a_chunk_goes_to_every_output_that_matches_its_tag() -> None:
    async def scenario() -> None:
        kube, all_of_them = Recorder(), Recorder()
        async with routing(
            route(kube, matches=lambda tag: tag.startswith("kube.")), route(all_of_them, "out.1")
        ) as house:
            await house.router.submit(chunk(b"1"))
            await house.router.submit(chunk(b"2", tag="host.a"))
            await house.router.drain(20)
        assert (kube.entries, all_of_them.entries) == (b"1", b"12")
        assert kube.closed
        assert house.metrics.value("fluentbit_output_proc_records_total", "out.1") == 2
        found = {labels: sum(taken.counts) for _, labels, taken in house.metrics.histograms()}
        assert found == {("tail.0", "out.0"): 1, ("tail.0", "out.1"): 2}
        assert house.metrics.value("fluentbit_input_records_total", "tail.0") == 2

    asyncio.run(scenario())


def test_what_no_output_matches_is_counted_said_once_and_moves_its_position(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def scenario() -> None:
        async with routing(route(Recorder(), matches=lambda tag: False)) as house:
            for offset in (1, 2, 3):
                await house.router.submit(chunk(b"x", offset=offset))
            assert [position.offset for position in house.positions] == [1, 2, 3]
        assert house.metrics.value("podwitness_unrouted_records_total") == 3

    asyncio.run(scenario())
    assert caplog.text.count("no output matches the tag kube.a") == 1


def test_a_position_moves_when_all_outputs_have_the_chunk() -> None:
    async def scenario() -> None:
        quick, slow = Recorder(), Recorder()
        slow.behave = never()
        async with routing(route(quick), route(slow, "out.1")) as house:
            await house.router.submit(chunk(b"1", offset=10))
            await quick.wait_until(lambda: bool(quick.accepted))
            assert house.positions == []
        assert house.positions == []

    asyncio.run(scenario())


def test_a_failed_chunk_is_tried_again_with_the_same_id_and_in_order() -> None:
    async def scenario() -> None:
        output = Recorder(behave=refuse)
        async with routing(route(output, retry_limit=None)) as house:
            for offset in range(5):
                await house.router.submit(chunk(b"%d" % offset, offset=offset))
            await output.wait_until(lambda: len(output.tried) >= 4)
            output.behave = None
            await house.router.drain(20)
        assert output.entries == b"01234"
        assert len({sent.id for sent in output.tried[:4]}) == 1
        assert [position.offset for position in house.positions][-1] == 4
        assert house.metrics.value("fluentbit_output_retries_total", "out.0") >= 3
        assert house.metrics.total("podwitness_lost_records_total") == 0

    asyncio.run(scenario())


def test_giving_up_is_counted_told_in_band_and_moves_on() -> None:
    async def scenario() -> None:
        output = Recorder()

        async def fail_a(sent: Chunk) -> None:
            if sent.tag == "kube.a":
                raise DeliveryError("too bad")

        output.behave = fail_a
        async with routing(route(output)) as house:
            await house.router.submit(chunk(b"12345", offset=5))
            await house.router.submit(chunk(b"6", tag="kube.b"))
            await output.wait_until(lambda: any(sent.tag == LOSS_TAG for sent in output.accepted))
            assert [position.offset for position in house.positions] == [5]
        (told,) = [sent for sent in output.accepted if sent.tag == LOSS_TAG]
        ((_, pairs),) = unpack_entries(told.entries)
        told_loss = dict(pairs)["podwitness"]["loss"]
        assert told_loss == {
            "cause": "retry_limit",
            "records": 1,
            "bytes": 5,
            "stream": "kube.a",
            "output": "out.0",
            "source": "tail.0",
            "path": "/var/log/a",
            "from": 0,
            "to": 5,
        }
        assert [sent.tag for sent in output.tried].count("kube.a") == 2
        for name in ("retries_failed_total", "dropped_records_total", "retries_total"):
            assert house.metrics.value(f"fluentbit_output_{name}", "out.0") == 1, name
        assert house.metrics.value("podwitness_lost_records_total", "retry_limit") == 1

    asyncio.run(scenario())


def test_a_rejected_chunk_is_not_tried_again() -> None:
    async def scenario() -> None:
        output = Recorder(behave=reject)
        async with routing(route(output, matches=logs)) as house:
            await house.router.submit(chunk(b"1", offset=1))
            await output.wait_until(lambda: bool(house.positions) or bool(output.tried))
        assert len(output.tried) == 1
        assert house.metrics.value("fluentbit_output_errors_total", "out.0") == 1
        assert house.metrics.value("podwitness_lost_records_total", "rejected") == 1

    asyncio.run(scenario())


def test_a_loss_that_could_not_be_told_is_told_later() -> None:
    async def scenario() -> None:
        output = Recorder(behave=refuse)
        async with routing(route(output, retry_limit=0)) as house:
            await house.router.submit(chunk(b"1"))
            await output.wait_until(lambda: [sent.tag for sent in output.tried].count(LOSS_TAG) >= 3)
            output.behave = None
            await output.wait_until(lambda: bool(output.accepted))
        (told,) = output.accepted
        ((_, pairs),) = unpack_entries(told.entries)
        assert dict(pairs)["podwitness"]["loss"]["records"] == 1
        assert house.metrics.total("podwitness_lost_records_total") == 1

    asyncio.run(scenario())


SIZE = 1000 + CHUNK_OVERHEAD_BYTES


def big(number: int, tag: str = "kube.a", durable: bool = False, source: str = "tail.0") -> Chunk:
    return chunk(bytes([number]) * 1000, tag, offset=number if durable else None, source=source)


def test_a_full_output_holds_back_only_its_own_streams() -> None:
    async def scenario() -> None:
        dead, alive = Recorder(behave=never()), Recorder()
        async with routing(
            route(dead, matches=lambda tag: tag == "kube.a"),
            route(alive, "out.1", matches=lambda tag: tag == "kube.b"),
            total_bytes=2 * 4 * SIZE,
        ) as house:
            waiting = [asyncio.create_task(house.router.submit(big(number))) for number in range(6)]
            await asyncio.sleep(0)
            assert [task.done() for task in waiting] == [True] * 4 + [False] * 2
            assert not house.router.offer(big(9))
            for number in range(20):
                await house.router.submit(big(number, tag="kube.b"))
            assert house.router.statistics().waiting == 2
            await alive.wait_until(lambda: len(alive.entries) == 20_000)

    asyncio.run(scenario())


def test_waiting_chunks_are_accepted_in_order_when_there_is_room() -> None:
    async def scenario() -> None:
        gate = asyncio.Event()
        output = Recorder(behave=behind(gate))
        async with routing(route(output), total_bytes=2 * SIZE) as house:
            tasks = [asyncio.create_task(house.router.submit(big(number))) for number in range(8)]
            await asyncio.sleep(0)
            gate.set()
            await asyncio.gather(*tasks)
            await house.router.drain(20)
        assert output.entries == b"".join(bytes([number]) * 1000 for number in range(8))
        assert house.router.statistics().size_bytes == 0

    asyncio.run(scenario())


def test_files_leave_a_quarter_of_the_share_to_what_cannot_be_read_again() -> None:
    async def scenario() -> None:
        output = Recorder(behave=never())
        async with routing(route(output), total_bytes=4 * SIZE) as house:
            accepted = [house.router.offer(big(number, durable=True)) for number in range(5)]
            assert accepted == [True, True, True, False, False]
            assert house.router.offer(big(6, tag="ebpf"))
            assert not house.router.offer(big(7, tag="ebpf"))

    asyncio.run(scenario())


def test_a_chunk_larger_than_the_share_goes_when_nothing_else_waits() -> None:
    async def scenario() -> None:
        output = Recorder()
        async with routing(route(output), total_bytes=100) as house:
            for number in range(3):
                await house.router.submit(big(number))
            await house.router.drain(20)
        assert len(output.entries) == 3000

    asyncio.run(scenario())


def test_an_input_has_its_own_limit() -> None:
    async def scenario() -> None:
        output = Recorder(behave=never())
        async with routing(route(output), source_limits={"tail.0": 2 * SIZE}) as house:
            assert [house.router.offer(big(number)) for number in range(3)] == [True, True, False]
            assert house.router.offer(big(4, source="tail.1"))

    asyncio.run(scenario())


def test_a_cancelled_submit_leaves_no_trace() -> None:
    async def scenario() -> None:
        output = Recorder(behave=never())
        async with routing(route(output), total_bytes=SIZE) as house:
            await house.router.submit(big(1))
            waiting = asyncio.create_task(house.router.submit(big(2)))
            await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.wait([waiting])
            assert house.router.statistics() == type(house.router.statistics())(1, SIZE, 0)

    asyncio.run(scenario())


def test_what_gathers_behind_a_slow_delivery_is_joined() -> None:
    async def scenario() -> None:
        gate = asyncio.Event()
        output = Recorder(behave=behind(gate))
        async with routing(route(output)) as house:
            for number in range(100):
                await house.router.submit(chunk(bytes([number]), offset=number))
                await asyncio.sleep(0)
            gate.set()
            await house.router.drain(20)
        assert output.entries == bytes(range(100))
        assert len(output.accepted) == 2
        assert house.positions[-1].offset == 99

    asyncio.run(scenario())


def test_drain_counts_what_is_lost_and_leaves_files_uncommitted() -> None:
    async def scenario() -> None:
        output = Recorder(behave=refuse)
        async with routing(route(output, retry_limit=1)) as house:
            await house.router.submit(chunk(b"1", offset=1))
            await house.router.submit(chunk(b"2", tag="ebpf"))
            left = await house.router.drain(0.05)
            assert left.chunks == 2
            assert house.positions == []
            await house.router.submit(chunk(b"3", tag="ebpf"))
            assert not house.router.offer(chunk(b"4", tag="ebpf"))
        assert house.metrics.value("podwitness_lost_records_total", "shutdown") == 2
        assert output.closed

    asyncio.run(scenario())


def test_what_was_lost_last_is_told_before_the_end() -> None:
    async def scenario() -> None:
        output = Recorder()
        async with routing(route(output), flush_s=60) as house:
            house.router.report_loss(Loss("deleted", 3, 10, "kube.a"))
            await house.router.drain(20)
        assert [sent.tag for sent in output.accepted] == [LOSS_TAG]

    asyncio.run(scenario())


def test_drain_frees_inputs_that_wait_for_room() -> None:
    async def scenario() -> None:
        output = Recorder(behave=never())
        async with routing(route(output), total_bytes=SIZE) as house:
            await house.router.submit(big(1))
            waiting = asyncio.create_task(house.router.submit(big(2)))
            await house.router.drain(0.01)
            await waiting
        assert house.metrics.value("podwitness_lost_records_total", "shutdown") == 2

    asyncio.run(scenario())


def test_an_error_of_an_output_that_is_no_delivery_error_ends_the_router() -> None:
    async def broken(sent: Chunk) -> None:
        raise RuntimeError("a bug")

    async def scenario() -> None:
        async with routing(route(Recorder(behave=broken))) as house:
            await house.router.submit(chunk(b"1"))
            await asyncio.sleep(30)

    with pytest.raises(ExceptionGroup) as raised:
        asyncio.run(scenario())
    assert raised.group_contains(RuntimeError, match="a bug")


def test_losses_are_logged_once_however_often_they_have_to_be_told(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        output = Recorder(behave=refuse)
        async with routing(route(output, retry_limit=0)) as house:
            for number in range(5):
                await house.router.submit(chunk(b"1", tag=f"kube.{number}"))
            await output.wait_until(lambda: [sent.tag for sent in output.tried].count(LOSS_TAG) >= 4)

    asyncio.run(scenario())
    assert caplog.messages.count("out.0 lost 5 records (retry_limit)") == 1
    assert caplog.messages.count("out.0 can't deliver: nobody listens") == 1


Step = tuple[int, int, bool]


@settings(max_examples=settings().max_examples * 5 // 12)
@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(1, 3000), st.booleans()), max_size=60),
    st.lists(st.sampled_from([None, refuse, reject]), max_size=60),
)
def test_whatever_happens_bounds_hold_and_nothing_is_left_uncounted(
    steps: list[Step], behaviours: list[Callable[[Chunk], Awaitable[None]] | None]
) -> None:
    async def scenario() -> None:
        ahead = iter(behaviours)

        async def behave(sent: Chunk) -> None:
            await asyncio.sleep(0)
            if (behaviour := next(ahead, None)) is not None:
                await behaviour(sent)

        outputs = Recorder(behave=behave), Recorder(behave=behave)
        total = 2 * 4 * SIZE
        async with routing(
            route(outputs[0], matches=logs),
            route(outputs[1], "out.1", None, matches=lambda tag: tag in ("kube.0", "kube.1")),
            total_bytes=total,
        ) as house:
            offsets = dict.fromkeys(range(4), 0)

            async def feed(file: int) -> None:
                for _, size, durable in (step for step in steps if step[0] == file):
                    offsets[file] += size
                    position = Position(FileKey(1, file), f"/{file}", offsets[file]) if durable else None
                    entries = bytes([file]) * size
                    await house.router.submit(
                        Chunk(
                            chunk_id(file, offsets[file]), f"kube.{file}", entries, 1, "tail.0", 0, position
                        )
                    )
                    statistics = house.router.statistics()
                    assert statistics.size_bytes <= total or statistics.chunks <= 2

            await asyncio.gather(*(feed(file) for file in range(4)))
            left = await house.router.drain(20)
            assert (left.chunks, left.size_bytes, left.waiting) == (0, 0, 0)
        metrics = house.metrics
        for name, files in (("out.0", (0, 1, 2, 3)), ("out.1", (0, 1))):
            delivered = metrics.value("fluentbit_output_proc_records_total", name)
            dropped = metrics.value("fluentbit_output_dropped_records_total", name)
            assert delivered + dropped == sum(step[0] in files for step in steps)
        of_file: dict[str, list[int]] = {}
        for position in house.positions:
            of_file.setdefault(position.path, []).append(position.offset)
        assert all(found == sorted(found) for found in of_file.values())
        last = {f"/{step[0]}" for step in steps if step[2]}
        assert set(of_file) == last

    asyncio.run(scenario())


def test_gauges() -> None:
    async def scenario() -> None:
        output = Recorder(behave=never())
        async with routing(route(output), total_bytes=1000) as house:
            await house.router.submit(chunk(b"12345"))
            house.router.set_gauges()
            metrics = house.metrics
            assert metrics.value("podwitness_delivery_bytes", "out.0") == 5 + CHUNK_OVERHEAD_BYTES
            assert metrics.value("podwitness_delivery_share_bytes", "out.0") == 1000
            assert metrics.value("podwitness_oldest_undelivered_seconds") >= 0

    asyncio.run(scenario())
