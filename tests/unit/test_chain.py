"""The chain: what is folded, what is left to be applied, and that both ways end in the same bytes."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.config.document import PluginConfig, load_file
from collector.entries import Pairs, count, pack_entry, unpack_entries
from collector.filters.chain import FilterChain
from collector.filters.modify import Modify
from collector.filters.sees_records import SeesRecords
from collector.identity.identity import Identity
from collector.native.logs import LogStream
from collector.plan import CRI_JOINED_LAYOUT, EventPlan, Framing, Layout, LogPlan
from collector.plugin import Emit, Filter, LogSource
from collector.record import Record, records_of
from tests.reference import plan as reference

POD = Identity(node="n1", container_id="c" * 64, pod_name="p", pod_uid="u", namespace="d")
LINES = LogPlan(Framing.LINE, Layout())
JSON = LogPlan(Framing.JSON, Layout())


def chain(folder: object, *filters: str) -> tuple[FilterChain, list[Filter]]:
    sections = "".join(f"[FILTER]\n    Name modify\n    {text}\n" for text in filters)
    path = f"{folder}/main.conf"
    with open(path, "w") as file:
        file.write(f"[INPUT]\n    Name systemd\n{sections}[OUTPUT]\n    Name null\n    Match *\n")
    configs: tuple[PluginConfig, ...] = load_file(path, {}).filters
    made: list[Filter] = [Modify(config.settings, config.matches) for config in configs]
    return FilterChain(made), made


def test_filters_are_folded_until_one_has_to_see_records(tmp_path: object) -> None:
    filters = (
        "Match *\n    Add a 1",
        "Match other\n    Rename a b",
        "Match kube.*\n    Rename a b",
        "Match *\n    Add c 2",
    )
    one, made = chain(tmp_path, *filters)
    plan, rest = one.log_plan(LogSource("kube.x", "/x", None), LINES)
    assert [step.key for step in plan.steps if not hasattr(step, "under")] == ["a"]
    assert rest == (made[2], made[3])
    plan, rest = one.log_plan(LogSource("host.x", "/x", None), LINES)
    assert (len(plan.steps), rest) == (2, ())
    events, rest = one.event_plan("kube.x", EventPlan(), POD)
    assert (len(events.steps), rest) == (1, (made[2], made[3]))
    assert one.record_plan("other") == (EventPlan(), (made[0], made[1], made[3]))


def test_applied_in_order_and_counted(tmp_path: object) -> None:
    one, made = chain(tmp_path, "Match *\n    Rename a b", "Match *\n    Set b 1")
    packed = pack_entry(5, [("a", 0), ("x", None)]) + pack_entry(6, [])
    ((_, changed, records),) = one.apply(tuple(made), "kube.x", packed, None)
    assert records == 2
    assert list(unpack_entries(changed)) == [(5, [("x", None), ("b", "1")]), (6, [("b", "1")])]


class Drop(SeesRecords):
    """Drops records whose first key is `drop`."""

    def matches(self, tag: str) -> bool:
        return True

    def apply(self, tag: str, record: Pairs, identity: Identity | None) -> Pairs | None:
        return None if record and record[0][0] == "drop" else record


def test_dropped_records_are_not_seen_by_later_filters() -> None:
    one = FilterChain([Drop(), Drop()])
    _, rest = one.record_plan("x")
    kept = pack_entry(0, [("keep", 1)])
    assert one.apply(rest, "x", pack_entry(0, [("drop", 1)]) + kept, None) == [("x", kept, 1)]


def test_without_filters_nothing_is_decoded_but_all_is_counted() -> None:
    packed = pack_entry(0, [("a", 1)]) * 3
    ((_, changed, records),) = FilterChain([]).apply((), "x", packed, None)
    assert changed is packed
    assert records == 3


def test_what_are_no_entries() -> None:
    packed = pack_entry(0, [("a", 1)])
    with pytest.raises(ValueError, match="cut after 1 records"):
        count(packed + packed[:4])


lines = st.lists(
    st.dictionaries(st.sampled_from(["a", "b", "log"]), st.integers(0, 3) | st.text(max_size=3)).map(
        json.dumps
    )
    | st.sampled_from(['{"a":1,"a":2}', "no json", '{"a":1.5e3,"n":{"a":[null,{}]}}', '{"\\ud800":1}', "{}"]),
    max_size=6,
)
rules = st.lists(
    st.sampled_from(["Add a x", "Set b y", "Remove log", "Set a z", "Remove a"]), min_size=1, max_size=4
)


@given(lines, rules)
def test_a_folded_chain_ends_in_the_bytes_of_an_applied_one(
    tmp_path: object, given_lines: list[str], given_rules: list[str]
) -> None:
    one, made = chain(tmp_path, *(f"Match *\n    {rule}" for rule in given_rules))
    plan, rest = one.log_plan(LogSource("x", "/x", None), JSON)
    assert rest == ()
    data = "".join(f"{line}\n" for line in given_lines).encode("utf-8", "surrogatepass")
    fast = reference.encode(data, plan, 7, 1 << 20)
    plain = reference.encode(data, JSON, 7, 1 << 20)
    assert one.apply(tuple(made), "x", plain.entries, None) == [("x", fast.entries, fast.records)]


heads = st.tuples(st.sampled_from(["stdout", "stderr"]), st.sampled_from("PF")).map(" ".join).map(str.encode)
contents = st.binary(max_size=12) | st.just(b'{"a":1}')
cri_lines = st.lists(
    st.tuples(heads, contents).map(lambda line: b"2026-11-24T01:02:03.5Z %s %s" % line)
    | st.binary(max_size=20),
    max_size=8,
).map(lambda found: b"".join(line.replace(b"\n", b"") + b"\n" for line in found))
cri_rules = st.lists(
    st.sampled_from(["Add stream x", "Set stream y", "Remove log", "Set n 1", "Add n 2", "Remove time"]),
    min_size=1,
    max_size=4,
)


@given(cri_lines, cri_rules)
def test_the_extension_folds_as_the_chain_applies(
    tmp_path: object, data: bytes, given_rules: list[str]
) -> None:
    one, made = chain(tmp_path, *(f"Match *\n    {rule}" for rule in given_rules))
    start = LogPlan(Framing.CRI_JOINED, CRI_JOINED_LAYOUT)
    plan, rest = one.log_plan(LogSource("x", "/x", None), start)
    assert rest == ()
    fast = LogStream(plan).encode(data, 0, 7, end=True)
    plain = LogStream(start).encode(data, 0, 7, end=True)
    assert one.apply(tuple(made), "x", plain.entries, None) == [("x", fast.entries, fast.records)]


def test_processors_see_what_an_input_makes_before_the_filters(tmp_path: object) -> None:
    """They are folded as filters are, and filters only while all processors could be."""
    one, made = chain(tmp_path, "Match *\n    Add a 1", "Match kube.*\n    Rename a b")
    _, (constant, seeing) = chain(tmp_path, "Match *\n    Add c 1", "Match *\n    Rename c d")
    source = LogSource("other", "/x", None)
    plan, rest = one.behind([constant]).log_plan(source, LINES)
    assert (len(plan.steps), rest) == (2, ())
    plan, rest = one.behind([seeing]).log_plan(source, LINES)
    assert (plan, rest) == (LINES, (seeing, made[0]))
    assert one.behind([constant, seeing]).record_plan("kube.x")[1] == (constant, seeing, *made)
    assert one.behind([]) is one


def test_processors_follow_a_change_of_the_filters(tmp_path: object) -> None:
    one, made = chain(tmp_path, "Match *\n    Add a 1", "Match *\n    Rename a b")
    own = one.behind([Drop()])
    told: list[str] = []
    own.changed.append(lambda: told.append("changed"))
    one.replace(made[1:])
    assert told == ["changed"]
    assert own.record_plan("x")[1][1:] == (made[1],)


class Retag(Drop):
    """Gives every record the tag `new`."""

    def apply_batch(
        self, tag: str, records: Sequence[Record], identity: Identity | None, emit: Emit
    ) -> list[Record]:
        for record in records:
            emit("new", record)
        return []


def test_what_a_processor_hands_on_later_goes_through_those_behind_it(tmp_path: object) -> None:
    one, _ = chain(tmp_path, "Match *\n    Add filter 1")
    _, (first, second, third) = chain(tmp_path, *(f"Match none\n    Add {name} 1" for name in "abc"))
    own = one.behind([first, second, third])
    given = list(records_of(pack_entry(0, [("x", 1)])))
    ((tag, entries, _),) = own.emit(second, "t", given, None)
    assert (tag, list(unpack_entries(entries))) == ("t", [(0, [("x", 1), ("c", "1"), ("filter", "1")])])


def test_a_processor_gives_another_tag(tmp_path: object) -> None:
    """It is of no input then: processors do not see it again, filters do."""
    one, _ = chain(tmp_path, "Match new\n    Add filter 1")
    own = one.behind([Retag()])
    _, rest = own.record_plan("t")
    parts = own.apply(rest, "t", pack_entry(0, [("x", 1)]), None)
    found = {part.tag: list(unpack_entries(part.entries)) for part in parts}
    assert found == {"t": [], "new": [(0, [("x", 1), ("filter", "1")])]}
