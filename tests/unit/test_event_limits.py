"""collector.inputs.event_limits: rates as they are written, and what is told of the suppressed."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from collector.entries import unpack_entries
from collector.identity.identity import Identity
from collector.inputs.event_limits import CGROUPS_MOST, Suppression, rate_kind, told_of
from collector.native.event_kinds import Kind
from collector.native.limits import OTHER_CGROUPS, Rate
from collector.notice_fields import LIMITED_FIELDS
from tests.unit.ebpf_rig import CGROUP, Probes, Rig, made_probes, run, settings

POD = Identity(
    "node1", namespace="shop", pod_name="web", pod_uid="u", container_name="c", container_id="d" * 64
)


@pytest.mark.parametrize(
    ("written", "rate"),
    [
        ("0", Rate(0, 1)),
        ("1000", Rate(1000, 1000)),
        ("1000 1", Rate(1000, 1)),
        ("5000   20000", Rate(5000, 20000)),
    ],
)
def test_rates_as_they_are_written(written: str, rate: Rate) -> None:
    assert rate_kind.read(written) == rate


@pytest.mark.parametrize("written", ["", "-1", "many", "1000 0", "10000001", "1 2 3", "1k"])
def test_what_is_no_rate_is_refused(written: str) -> None:
    with pytest.raises(ValueError, match="events a second"):
        rate_kind.read(written)


def records(suppression: Suppression, **identities: Identity) -> list[dict[str, Any]]:
    entries = suppression.entries(lambda cgroup: identities.get(f"c{cgroup}"), 3 * 10**9)
    made = [dict(pairs) for _, pairs in unpack_entries(entries.entries)]
    assert len(made) == entries.records
    return made


def test_one_record_for_each_container_says_whose_and_how_many() -> None:
    suppression = Suppression("node1")
    assert not suppression
    suppression.add({5: Counter({Kind.FORK: 2}), 6: Counter({Kind.EXEC: 1})}, 10**9)
    suppression.add({5: Counter({Kind.FORK: 1, Kind.EXEC: 4})}, 2 * 10**9)
    pod, unknown = records(suppression, c5=POD)
    assert pod["podwitness"] == {
        "scope": "container",
        "cgroup_id": 5,
        "suppressed": {"records": 7, "by_kind": {"exec": 4, "fork": 3}},
    }
    assert pod["kubernetes"]["pod_name"] == "web"
    assert (pod["event"]["start"], pod["event"]["end"]) == (
        "1970-01-01T00:00:01.000+00:00",
        "1970-01-01T00:00:03.000+00:00",
    )
    assert unknown["podwitness"]["scope"] == "unresolved"
    assert unknown["host"] == {"name": "node1"}
    suppression.clear()
    assert not suppression


def test_what_is_not_told_is_not_told_as_suppressed() -> None:
    suppressed = {5: Counter({Kind.FORK: 2, Kind.EXEC: 1}), 6: Counter({Kind.FORK: 1})}
    assert told_of(suppressed, {Kind.FORK}) == {5: Counter({Kind.EXEC: 1})}
    assert told_of(suppressed, ()) == suppressed


def test_record_has_the_fields_of_the_reference() -> None:
    suppression = Suppression("node1")
    suppression.add({5: Counter({Kind.FORK: 2})}, 0)
    (record,) = records(suppression)
    for field in LIMITED_FIELDS:
        value: Any = record
        for part in field.name.split("."):
            value = value[part]


def test_cgroups_that_are_not_told_are_bounded_and_none_is_forgotten() -> None:
    suppression = Suppression("node1")
    for cgroup in range(1, CGROUPS_MOST + 10):
        suppression.add({cgroup: Counter({Kind.FORK: 1})}, 0)
    made = records(suppression)
    assert len(made) == CGROUPS_MOST + 1
    assert sum(record["podwitness"]["suppressed"]["records"] for record in made) == CGROUPS_MOST + 9
    assert made[-1]["podwitness"]["cgroup_id"] == OTHER_CGROUPS


@pytest.fixture
def probes(monkeypatch: pytest.MonkeyPatch) -> Any:
    with made_probes() as made:
        monkeypatch.setattr("collector.inputs.ebpf.launch", made.launch)
        yield made


def told(rig: Rig) -> list[dict[str, Any]]:
    return [
        dict(pairs)
        for chunk in rig.intake.chunks
        for _, pairs in unpack_entries(chunk.entries)
        if dict(pairs)["event"]["action"] == "rate-limited"
    ]


def test_input_sets_the_limits_and_tells_what_they_suppress(probes: Probes) -> None:
    async def scenario() -> None:
        rig = Rig(probes, settings(process_rate=Rate(1000, 11)))
        async with rig.running():
            assert probes.table.limits()[0] == (10**6, 10 * 10**6)
            probes.table.suppress(7, CGROUP, Kind.EXEC, 3)
            await rig.until(lambda: told(rig))
            assert rig.metrics.value("podwitness_kernel_events_suppressed_total", "exec") == 3
            probes.table.suppress(7, CGROUP, Kind.FORK, 2)  # told at the end
        first, last = told(rig)
        assert first["podwitness"]["scope"] == "container"
        assert first["podwitness"]["suppressed"] == {"records": 3, "by_kind": {"exec": 3}}
        assert last["podwitness"]["suppressed"] == {"records": 2, "by_kind": {"fork": 2}}

    run(scenario)


def test_without_room_in_the_outputs_it_is_told_later_in_one_record(
    probes: Probes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("collector.inputs.ebpf.TICK_S", 0.02)

    async def scenario() -> None:
        rig = Rig(probes, settings())
        async with rig.running():
            rig.intake.has_room = False
            for _ in range(3):
                refusals = rig.intake.refusals
                probes.table.suppress(7, CGROUP, Kind.EXEC, 3)
                await rig.until(lambda seen=refusals: rig.intake.refusals > seen + 1)  # type: ignore[misc]
            rig.intake.has_room = True
            await rig.until(lambda: told(rig))
        (record,) = told(rig)
        assert record["podwitness"]["suppressed"]["records"] == 9

    run(scenario)
