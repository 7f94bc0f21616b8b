"""Losses: rows are added up, bounded, and told as records."""

from __future__ import annotations

from collector.delivery.losses import OTHER_STREAMS, Batch, Loss, Losses, Untold, entry, unpacked
from collector.entries import unpack_entries


def loss(**changes: object) -> Loss:
    made: dict[str, object] = {
        "cause": "retry_limit",
        "records": 2,
        "size_bytes": 100,
        "stream": "kube.a",
        "output": "forward.0",
        "source": "tail.0",
        "path": "/var/log/a",
        "from_offset": 0,
        "to_offset": 50,
        "since_ns": 1_700_000_000_000_000_000,
        "until_ns": 1_700_000_000_000_000_000,
    }
    return Loss(**(made | changes))  # type: ignore[arg-type]


def test_losses_of_one_stream_become_one_row() -> None:
    losses = Losses()
    losses.add(loss())
    losses.add(loss(from_offset=50, to_offset=80, records=3, until_ns=1_700_000_001_000_000_000))
    losses.add(loss(cause="rejected"))
    first, second = losses.take()
    assert (first.records, first.size_bytes, first.from_offset, first.to_offset) == (5, 200, 0, 80)
    assert (first.since_ns, first.until_ns) == (1_700_000_000_000_000_000, 1_700_000_001_000_000_000)
    assert second.cause == "rejected"
    assert len(losses) == 0


def test_a_range_is_only_told_when_it_is_of_one_file() -> None:
    losses = Losses()
    losses.add(loss())
    losses.add(loss(path="/var/log/b"))
    (row,) = losses.take()
    assert (row.path, row.from_offset, row.to_offset, row.records) == ("", -1, -1, 4)


def test_rows_are_bounded_and_sums_stay_right() -> None:
    losses = Losses(max_rows=3)
    for number in range(50):
        losses.add(loss(stream=f"kube.{number}", path="", from_offset=-1, to_offset=-1))
    rows = losses.take()
    assert len(rows) == 4
    assert sum(row.records for row in rows) == 100
    assert rows[-1].stream == OTHER_STREAMS


def test_text_is_bounded_and_sums_stay_right() -> None:
    losses = Losses(max_text_bytes=10_000)
    for number in range(200):
        losses.add(loss(stream=f"{number:0200}", path="/" * 4000))
    rows = losses.rows()
    assert sum(len(row.stream) + len(row.path) + len(row.source) for row in rows) <= 10_100
    assert sum(row.records for row in rows) == 400
    assert len(losses.take()) == len(rows)
    losses.add(loss(stream="a" * 5000))
    assert losses.rows()[0].stream == "a" * 5000


def test_kept_and_read_again() -> None:
    rows = (loss(), loss(stream="kube.\udcff", path="", cause="shed"))
    kept = Untold(Batch(rows, 5), rows[:1])
    assert unpacked(kept.packed()) == kept
    assert unpacked(Untold().packed()) == Untold()
    for spoilt in (b"", b"\xff", kept.packed()[:-1], b"\x91\x91\x01", b"\x01", b"\x93\x01\x02\x03"):
        assert unpacked(spoilt) == Untold()


def test_the_id_of_a_batch_follows_from_what_it_tells() -> None:
    rows = (loss(), loss(stream="kube.b"))
    assert Batch(rows, 5).id("node-1", "out.0") == Batch(rows, 6).id("node-1", "out.0")
    others = [Batch(rows[:1], 5), Batch(rows[::-1], 5), Batch((*rows, loss(cause="shed")), 5)]
    ids = {one.id("node-1", "out.0") for one in (Batch(rows, 5), *others)}
    assert len(ids | {Batch(rows, 5).id("node-1", "out.1")}) == 5


def test_the_record() -> None:
    ((time_ns, pairs),) = unpack_entries(entry(loss(), "node-1", 1_700_000_002_000_000_000))
    assert time_ns == 1_700_000_002_000_000_000
    assert dict(pairs) == {
        "event": {
            "kind": "pipeline_error",
            "action": "loss",
            "start": "2023-11-14T22:13:20.000+00:00",
            "end": "2023-11-14T22:13:20.000+00:00",
        },
        "host": {"name": "node-1"},
        "podwitness": {
            "loss": {
                "cause": "retry_limit",
                "records": 2,
                "bytes": 100,
                "stream": "kube.a",
                "output": "forward.0",
                "source": "tail.0",
                "path": "/var/log/a",
                "from": 0,
                "to": 50,
            }
        },
    }


def test_names_that_are_not_utf8_do_not_stop_the_telling() -> None:
    assert b"\xff" in entry(loss(stream="kube.\udcff"), "node", 0)
