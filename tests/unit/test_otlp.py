"""Records as log records, read back by OpenTelemetry's own classes."""

from __future__ import annotations

from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsPartialSuccess,
    ExportLogsServiceRequest,
    ExportLogsServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord

from collector.accessor import read
from collector.outputs.otlp import Mapping, any_value, refused, request
from collector.outputs.text import TOO_DEEP

MAPPING = Mapping((read("$log"), read("$message")), severity_text=read("level"), trace_id=read("trace"))
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def plain(value: AnyValue) -> Any:
    match value.WhichOneof("value"):
        case None:
            return None
        case "array_value":
            return [plain(one) for one in value.array_value.values]
        case "kvlist_value":
            return {pair.key: plain(pair.value) for pair in value.kvlist_value.values}
        case field:
            return getattr(value, field)


@given(values)
def test_values(value: Any) -> None:
    assert plain(AnyValue.FromString(any_value(value))) == value


def test_what_has_no_counterpart() -> None:
    def back(value: Any) -> Any:
        return plain(AnyValue.FromString(any_value(value)))

    assert back(2**64) == str(2**64)
    assert back(msgpack.ExtType(0, b"ab")) == b"ab"
    assert back("\udcff") == "�"
    deep: Any = 1
    for _ in range(500):
        deep = [deep]
    assert TOO_DEEP.encode() in any_value(deep)


def record(pairs: list[tuple[Any, Any]], mapping: Mapping = MAPPING) -> LogRecord:
    found: LogRecord = LogRecord.FromString(mapping.log_record(7, 8, pairs))
    return found


def test_bodies() -> None:
    assert record([("message", "m"), ("log", "l")]).body.string_value == "l"
    whole = record([("a", 1), ("a", 2)])
    assert [pair.value.int_value for pair in whole.body.kvlist_value.values] == [1, 2]
    assert (whole.time_unix_nano, whole.observed_time_unix_nano, len(whole.attributes)) == (7, 8, 0)
    mapping = Mapping((read("$k['log']"),), rest_as_attributes=True)
    found = record([("k", {"log": "x", "n": 1}), ("m", 2)], mapping)
    assert found.body.string_value == "x"
    assert {pair.key: plain(pair.value) for pair in found.attributes} == {"k": {"n": 1}, "m": 2}


@pytest.mark.parametrize(
    ("pairs", "number", "text"),
    [
        ([("level", "warn")], 13, "warn"),
        ([("level", "odd")], 0, "odd"),
        ([("level", "info"), ("no", 10)], 10, "info"),
        ([("no", 99)], 0, ""),
        ([("level", 3)], 0, ""),
    ],
)
def test_severities(pairs: list[tuple[Any, Any]], number: int, text: str) -> None:
    mapping = Mapping((), severity_text=read("level"), severity_number=read("no"))
    found = record(pairs, mapping)
    assert (found.severity_number, found.severity_text) == (number, text)


@pytest.mark.parametrize(
    ("value", "ident"),
    [("ab" * 16, b"\xab" * 16), (b"i" * 16, b"i" * 16), ("zz" * 16, b""), ("ab", b""), (5, b"")],
)
def test_trace_ids(value: Any, ident: bytes) -> None:
    assert record([("trace", value)]).trace_id == ident


def test_a_request() -> None:
    body = request([("service.name", "x")], [MAPPING.log_record(1, 2, [("log", "a")])] * 3)
    (resource,) = ExportLogsServiceRequest.FromString(body).resource_logs
    assert plain(resource.resource.attributes[0].value) == "x"
    assert [one.body.string_value for one in resource.scope_logs[0].log_records] == ["a"] * 3


def test_answers() -> None:
    partial = ExportLogsPartialSuccess(rejected_log_records=3, error_message="too old")
    assert refused(ExportLogsServiceResponse(partial_success=partial).SerializeToString()) == (3, "too old")
    assert refused(b"") == (0, "")
    assert refused(b"<html>") == (0, "")
