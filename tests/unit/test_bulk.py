"""Bulk requests: which index, id and document a record gets, and what becomes of refused ones."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import logging
from collections.abc import Callable
from typing import Any

import pytest

from collector.accessor import Template, read
from collector.delivery.chunk import Chunk
from collector.outputs.bulk import Bulk, BulkSettings, documents, outcomes
from collector.outputs.parts import CHUNKS
from collector.plugin import DeliveryError, Rejected
from tests.unit.chunks import chunk_of
from tests.web_server import Answer, Request, WebServer, serving

LOG = logging.getLogger("test")
TIME_NS = 1_700_000_000_123_456_789
NOW_NS = 1_800_000_000_000_000_000


def lines(chunk: Chunk, **settings: Any) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    made = dataclasses.replace(BulkSettings(), **settings)
    found = []
    for both in documents(chunk, made, NOW_NS):
        action, document = both.splitlines()
        found.append((json.loads(action), json.loads(document)))
    return found


def one(record: dict[Any, Any], **settings: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    (found,) = lines(chunk_of(record, time_ns=TIME_NS), **settings)
    return found


def test_a_record_as_fluent_bit_sends_it() -> None:
    assert one({"log": "a", "n": 1}) == (
        {"create": {"_index": "fluent-bit", "_type": "_doc"}},
        {"@timestamp": "2023-11-14T22:13:20.123Z", "log": "a", "n": 1},
    )


@pytest.mark.parametrize(
    ("settings", "index"),
    [
        ({"logstash_format": True}, "logstash-2023.11.14"),
        ({"logstash_format": True, "current_time_index": True}, "logstash-2027.01.15"),
        (
            {
                "logstash_format": True,
                "logstash_prefix_key": read("$k8s['ns']"),
                "logstash_prefix_separator": "_",
            },
            "team_2023.11.14",
        ),
        ({"logstash_format": True, "logstash_prefix_key": read("none")}, "logstash-2023.11.14"),
        ({"logstash_format": True, "logstash_date_format": "%Y"}, "logstash-2023"),
        ({"index": "app-%Y.%m", "current_time_index": True}, "app-2027.01"),
        ({"index": "app-%Y"}, "app-%Y"),
        ({"target_index": Template.read("x-$k8s['ns']-$TAG")}, "x-team-kube.a"),
        ({"target_index": Template.read("x-$none"), "index": "app"}, "app"),
    ],
)
def test_indices(settings: dict[str, Any], index: str) -> None:
    action, _ = one({"k8s": {"ns": "Team"}}, **settings)
    assert action["create"]["_index"] == index


def test_documents() -> None:
    record = {"a.b": {"c.d": 1, "e": [{"f.g": 2}]}, "flb-key": "own"}
    _, document = one(record, replace_dots=True, include_tag_key=True, time_key="@t", time_key_nanos=True)
    assert document == {
        "@t": "2023-11-14T22:13:20.123456789Z",
        "flb-key": "kube.a",
        "a_b": {"c_d": 1, "e": [{"f.g": 2}]},
    }
    _, document = one({"@timestamp": "own", "x": 1}, time_key_format="%s")
    assert document == {"@timestamp": "1700000000.123Z", "x": 1}


def test_operations_and_types() -> None:
    assert list(one({"a": 1}, write_operation="index", suppress_type_name=True)[0].items()) == [
        ("index", {"_index": "fluent-bit"})
    ]
    action, document = one({"a": 1, "id": 7}, write_operation="upsert", id_key=read("id"), type="t")
    assert action == {"update": {"_index": "fluent-bit", "_type": "t", "_id": "7"}}
    assert (document["doc_as_upsert"], document["doc"]["a"]) == (True, 1)
    assert "doc_as_upsert" not in one({"a": 1}, write_operation="update", generate_id=True)[1]
    with pytest.raises(ValueError, match="needs Id_Key or Generate_ID"):
        BulkSettings(write_operation="upsert")


def test_ids_are_the_same_however_chunks_are_cut_and_never_twice_in_a_chunk() -> None:
    records = [{"n": number % 3} for number in range(6)]

    def ids(*some: dict[Any, Any], tag: str = "kube.a") -> list[str]:
        return [action["create"]["_id"] for action, _ in lines(chunk_of(*some, tag=tag), generate_id=True)]

    whole = ids(*records)
    assert len(set(whole)) == 6
    assert ids(*records) == whole
    assert ids(*records[:2]) + ids(records[2]) == whole[:3]
    assert set(ids(records[0], tag="kube.b")).isdisjoint(whole)
    assert (
        len(set(lines(chunk_of({"id": "x"}), generate_id=True, id_key=read("id"))[0][0]["create"]["_id"]))
        == 1
    )


def test_answers() -> None:
    assert outcomes(b'{"errors":false}', 3) is None
    found = outcomes(
        b'{"errors":true,"items":[{"create":{"status":429,"error":{"type":"t","reason":"r"}}}]}', 1
    )
    assert found is not None
    assert (str(found[0]), found[0].is_transient) == ("429 t: r", True)
    for body in (b"<html>", b'{"errors":true,"items":[]}', b"[]"):
        with pytest.raises(DeliveryError, match="the answer to a bulk request"):
            outcomes(body, 1)


class Server:
    """Answers for each record with the status that is due for its number."""

    def __init__(self, statuses: dict[int, list[int]]) -> None:
        self.statuses = statuses
        self.sent: list[list[int]] = []

    def answer(self, request: Request) -> Answer:
        numbers = [json.loads(line)["n"] for line in request.body.splitlines()[1::2]]
        self.sent.append(numbers)
        items: list[dict[str, dict[str, Any]]] = []
        for number in numbers:
            due = self.statuses.get(number, [201])
            status = due.pop(0) if len(due) > 1 else due[0]
            error = {"error": {"type": "t", "reason": f"no {number}"}} if status >= 300 else {}
            items.append({"create": {"status": status} | error})
        errors = any(item["create"]["status"] >= 300 for item in items)
        return Answer(200, json.dumps({"errors": errors, "items": items if errors else []}).encode())


def deliver(
    statuses: dict[int, list[int]], attempts: int = 1
) -> tuple[list[list[int]], list[Exception | None]]:
    chunk = chunk_of(*({"n": number} for number in range(5)))
    behaviour, results = Server(statuses), list[Exception | None]()

    async def scenario() -> None:
        async with serving(WebServer(behaviour.answer)) as server:
            bulk = Bulk(BulkSettings(port=server.port), LOG)
            for _ in range(attempts):
                try:
                    await bulk.deliver(chunk)
                    results.append(None)
                except (DeliveryError, Rejected) as reason:
                    results.append(reason)
            await bulk.close()

    asyncio.run(scenario())
    return behaviour.sent, results


def test_all_stored() -> None:
    assert deliver({}) == ([[0, 1, 2, 3, 4]], [None])


def test_what_is_there_already_is_stored() -> None:
    assert deliver({2: [409]})[1] == [None]


def test_only_what_was_refused_for_now_is_sent_again() -> None:
    sent, results = deliver({1: [429, 503, 201], 3: [500, 201]}, attempts=3)
    assert sent == [[0, 1, 2, 3, 4], [1, 3], [1]]
    assert [type(result) for result in results] == [DeliveryError, DeliveryError, type(None)]
    assert "has no room for 2 records: 429 t: no 1" in str(results[0])


def always(answer: Answer) -> Callable[[Request], Answer]:
    return lambda request: answer


def test_a_server_that_is_away_in_between_changes_nothing() -> None:
    chunk = chunk_of(*({"n": number} for number in range(5)))
    behaviour = Server({1: [429, 201], 3: [400]})

    async def scenario() -> None:
        async with serving(WebServer(behaviour.answer)) as server:
            bulk = Bulk(BulkSettings(port=server.port), LOG)
            with pytest.raises(DeliveryError, match="has no room for 1 records"):
                await bulk.deliver(chunk)
            for answer in (Answer(503), Answer(hang_up=True), Answer(200, b"<html>")):
                server.answer = always(answer)
                with pytest.raises(DeliveryError):
                    await bulk.deliver(chunk)
            server.answer = behaviour.answer
            with pytest.raises(Rejected, match="refused 1 of 5 records: 400 t: no 3"):
                await bulk.deliver(chunk)
            assert behaviour.sent == [[0, 1, 2, 3, 4], [1]]
            await bulk.close()

    asyncio.run(scenario())


def test_a_request_refused_as_a_whole_after_a_part_was_stored() -> None:
    chunk = chunk_of(*({"n": number} for number in range(3)))
    behaviour = Server({1: [429]})

    async def scenario() -> None:
        async with serving(WebServer(behaviour.answer)) as server:
            bulk = Bulk(BulkSettings(port=server.port), LOG)
            with pytest.raises(DeliveryError):
                await bulk.deliver(chunk)
            server.answer = lambda request: Answer(400)
            with pytest.raises(Rejected, match=r"refused 1 of 3 records: .*answered 400") as caught:
                await bulk.deliver(chunk)
            assert caught.value.entries == chunk_of({"n": 1}).entries
            server.answer = lambda request: Answer(401)
            with pytest.raises(Rejected, match="answered 401") as caught:
                await bulk.deliver(chunk)
            assert caught.value.records == 0
            await bulk.close()

    asyncio.run(scenario())


def test_a_server_that_takes_small_requests_only() -> None:
    behaviour = Server({})

    def answer(request: Request) -> Answer:
        return Answer(413) if len(request.body) > 200 else behaviour.answer(request)

    async def scenario() -> None:
        async with serving(WebServer(answer)) as server:
            bulk = Bulk(BulkSettings(port=server.port), LOG)
            await bulk.deliver(chunk_of(*({"n": number} for number in range(5))))
            assert sorted(number for sent in behaviour.sent for number in sent) == [0, 1, 2, 3, 4]
            await bulk.close()

    asyncio.run(scenario())


def test_what_is_refused_for_good_is_told_with_its_entries() -> None:
    chunk = chunk_of(*({"n": number} for number in range(5)))
    sent, results = deliver({1: [400], 4: [429, 400]}, attempts=2)
    assert sent == [[0, 1, 2, 3, 4], [4]]
    assert isinstance(results[0], DeliveryError)
    last = results[1]
    assert isinstance(last, Rejected)
    assert last.records == 2
    assert last.entries == chunk_of({"n": 1}, {"n": 4}).entries
    assert "refused 2 of 5 records: 400 t: no 1" in str(last)
    assert chunk.records == 5


def test_refused_before_and_the_rest_stored_later() -> None:
    _, results = deliver({1: [400], 4: [429, 201]}, attempts=2)
    last = results[1]
    assert isinstance(last, Rejected)
    assert (last.records, last.entries) == (1, chunk_of({"n": 1}).entries)


def test_all_refused_is_the_whole_chunk() -> None:
    _, results = deliver({number: [400] for number in range(5)})
    assert isinstance(results[0], Rejected)
    assert results[0].records == 0


def test_parts_are_remembered_within_a_bound() -> None:
    async def scenario() -> None:
        behaviour = Server({0: [429]})
        async with serving(WebServer(behaviour.answer)) as server:
            bulk = Bulk(BulkSettings(port=server.port), LOG)
            chunks = [chunk_of({"n": 0}, {"n": 1}, tag=f"t{number}") for number in range(CHUNKS + 1)]
            for chunk in (*chunks, chunks[0], chunks[-1]):
                with pytest.raises(DeliveryError):
                    await bulk.deliver(chunk)
            assert behaviour.sent[-2:] == [[0, 1], [0]]
            await bulk.close()

    asyncio.run(scenario())


def test_the_path_and_what_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        async with serving(WebServer(Server({0: [400]}).answer)) as server:
            settings = BulkSettings(
                port=server.port, path="/es/", pipeline="a b", compress="gzip", trace_error=True,
                headers=(("X-A", "1"),),
            )  # fmt: skip
            bulk = Bulk(settings, LOG)
            with pytest.raises(Rejected):
                await bulk.deliver(chunk_of({"n": 0}, {"n": 1}))
            (request,) = server.requests
            assert request.target.startswith("/es/_bulk?filter_path=errors,items.*.status,")
            assert request.target.endswith("&pipeline=a%20b")
            assert (request.header("X-A"), request.header("Content-Type")) == ("1", "application/x-ndjson")
            await bulk.close()

    asyncio.run(scenario())
    assert "record 0 of a chunk of kube.a: 400 t: no 0" in caplog.text
