"""Lines of a file joined into records (collector.inputs.tail_groups), by stream and with their place."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from collector.entries import unpack_entries
from collector.inputs.tail_groups import HIDDEN_OFFSET, GroupBudget, Grouping, LineGroups, Regrouped
from collector.multiline.built_in import built_in
from collector.native.logs import LogStream
from collector.plan import CRI_JOINED_LAYOUT, Field, Framing, Layout, LogPlan, Op

T = "2026-01-01T00:00:00Z"
NOW_S = 100.0


def grouping(
    framing: Framing, *, limit: int = 1000, offset_key: str = HIDDEN_OFFSET, **more: Any
) -> Grouping:
    return Grouping((built_in("python"),), limit, framing, "log", offset_key=offset_key, **more)


def regroup(groups: LineGroups, text: str, framing: Framing, *, offset_key: str = HIDDEN_OFFSET) -> Regrouped:
    layout = CRI_JOINED_LAYOUT if framing.joins else Layout()
    plan = LogPlan(framing, replace(layout, offset=offset_key)).then(Field(Op.APPEND, "file", "a.log"))
    return groups.take(bytes(LogStream(plan).encode(text.encode(), 0, 7).entries), NOW_S)


def records(regrouped: Regrouped) -> list[dict[str, Any]]:
    found = [dict(pairs) for _, pairs in unpack_entries(regrouped.entries)]
    assert len(found) == regrouped.records
    return found


TRACE = "Traceback (most recent call last):\n  File x\n    y\n"


def test_a_record_is_its_first_line_with_the_text_of_all() -> None:
    groups = LineGroups(grouping(Framing.LINE))
    done = regroup(groups, "before\n" + TRACE, Framing.LINE)
    assert records(done) == [{"log": "before\n", "file": "a.log"}]
    assert groups.starts == (7, -1)
    assert groups.due_s == NOW_S + 4.0
    assert records(regroup(groups, "E: z\n", Framing.LINE)) == [{"log": TRACE + "E: z\n", "file": "a.log"}]
    assert groups.starts == (-1, -1)
    assert LineGroups(grouping(Framing.LINE)).due_s is None


def test_streams_do_not_meet_and_what_is_of_none_passes() -> None:
    groups = LineGroups(grouping(Framing.CRI_JOINED))
    out, err = f"{T} stdout F ", f"{T} stderr F "
    lines = [
        out + "Traceback (most recent call last):",
        err + "Traceback (most recent call last):",
        "no runtime's",
    ]
    lines += [out + "  File a", err + "  File b", out + "x = 1", err + "y = 1", out + "A: 1", err + "after"]
    done = regroup(groups, "\n".join(lines) + "\n", Framing.CRI_JOINED)
    head = "Traceback (most recent call last):\n"
    assert [(one.get("stream"), one["log"]) for one in records(done)] == [
        (None, "no runtime's"),
        ("stdout", head + "  File a\nx = 1\nA: 1"),
        ("stderr", head + "  File b\ny = 1"),
        ("stderr", "after"),
    ]


def test_the_place_of_the_first_line_is_kept_where_it_is_asked_for() -> None:
    groups = LineGroups(grouping(Framing.LINE, offset_key="at"))
    regroup(groups, "x\n" + TRACE, Framing.LINE, offset_key="at")
    assert records(groups.flush()) == [{"log": TRACE, "at": 2, "file": "a.log"}]


def test_records_that_wait_too_long_go_out_with_where_they_began() -> None:
    groups = LineGroups(grouping(Framing.LINE))
    regroup(groups, TRACE, Framing.LINE)
    assert groups.flush_overdue(NOW_S + 3.9) == Regrouped()
    done = groups.flush_overdue(NOW_S + 4.0)
    assert [one["log"] for one in records(done)] == [TRACE]
    assert done.began == (0,)
    assert groups.flush() == Regrouped()


def test_a_record_over_the_bound_is_cut_marked_and_counted() -> None:
    groups = LineGroups(grouping(Framing.LINE, limit=80))
    done = regroup(groups, TRACE, Framing.LINE)
    assert [one.get("truncated") for one in records(done)] == [True]
    assert (done.cut, done.cut_bytes) == (1, len("    y"))


def test_all_files_share_a_bound_and_give_it_back() -> None:
    budget = GroupBudget()
    first, second = (LineGroups(grouping(Framing.LINE, budget=budget)) for _ in range(2))
    regroup(first, TRACE, Framing.LINE)
    taken_bytes = budget.taken_bytes
    budget.limit_bytes = 2 * taken_bytes - 1
    assert [one["log"] for one in records(regroup(second, TRACE, Framing.LINE))] == [TRACE]
    assert budget.taken_bytes == taken_bytes
    first.close()
    second.close()
    assert budget.taken_bytes == 0


def test_all_that_came_with_an_open_record_counts() -> None:
    budget, other = GroupBudget(), "x" * 1_000_000
    line = f'{{"log":"Traceback (most recent call last):","other":"{other}"}}\n'
    files = [LineGroups(grouping(Framing.JSON, budget=budget)) for _ in range(20)]
    gone = sum(regroup(one, line, Framing.JSON).records for one in files)
    # Each takes its text twice: as that, and as the bytes it came in.
    assert 10 < 20 - gone < (24 << 20) / (2 * len(other))
    assert (20 - gone) * 2 * len(other) < budget.taken_bytes <= budget.limit_bytes
    for one in files:
        one.flush()
    assert budget.taken_bytes == 0


@pytest.mark.parametrize("text", ['{"log":1}', '{"x":"y"}', "no JSON"])
def test_a_record_without_text_ends_what_is_open(text: str) -> None:
    groups = LineGroups(grouping(Framing.JSON))
    lines = '{"log":"Traceback (most recent call last):"}\n' + text + "\n"
    found = records(regroup(groups, lines, Framing.JSON))
    assert found[0]["log"] == "Traceback (most recent call last):"
    assert len(found) == 2
