"""Which stream a record belongs to, and what its line is."""

from __future__ import annotations

import json
from typing import Any

import pytest

from collector.accessor import Accessor, read
from collector.outputs.loki_streams import Label, Shape, label_name, labels_of_map, push_body, read_label

RECORD: list[tuple[Any, Any]] = [
    ("log", 'he said "hi"\n'),
    ("sub", {"stream": "stdout", "id": 7, "ok": True, "list": [1]}),
    ("kubernetes", {"labels": {"app.kubernetes.io/name": "web", "team": "a", "job": "theirs"}}),
]


def test_labels() -> None:
    assert read_label("job=a b") == Label("job", "a b")
    assert read_label("$sub['stream']") == Label("stream", "", Accessor("sub", ("stream",)))
    assert read_label("mine = $sub['id']") == Label("mine", "", Accessor("sub", ("id",)))
    for wrong in ("job", "=x", "job=", "a-b=c", "x=$a["):
        with pytest.raises(ValueError, match="expected"):
            read_label(wrong)
    assert [label_name(name) for name in ("a.b/c", "7up", "")] == ["a_b_c", "_7up", ""]


def test_a_label_map() -> None:
    found = labels_of_map({"sub": {"stream": "out", "deep": {"x": "y-z"}}, "log": "line"})
    assert found == [
        Label("out", "", Accessor("sub", ("stream",))),
        Label("y_z", "", Accessor("sub", ("deep", "x"))),
        Label("line", "", Accessor("log")),
    ]
    wrongs: list[Any] = [[], "x", {"a": 1}]
    for wrong in wrongs:
        with pytest.raises(ValueError, match="expected"):
            labels_of_map(wrong)


def test_streams() -> None:
    labels = tuple(
        map(read_label, ("job=x", "$sub['id']", "$sub['ok']", "$sub['list']", "$none", "$kubernetes"))
    )
    assert Shape(labels).stream(RECORD) == {"job": "x", "id": "7", "ok": "true"}
    assert Shape(labels[:1], kubernetes_labels=True).stream(RECORD) == {
        "job": "x", "app_kubernetes_io_name": "web", "team": "a",
    }  # fmt: skip
    assert Shape(labels[:1], kubernetes_labels=True).stream([("kubernetes", "none")]) == {"job": "x"}


def test_lines() -> None:
    removed = (read("$kubernetes"), read("$sub['list']"), read("$none['x']"), read("$log['x']"))
    assert json.loads(Shape((), removed=removed).line(RECORD)) == {
        "log": "he said \"hi\"\n", "sub": {"stream": "stdout", "id": 7, "ok": True},
    }  # fmt: skip
    pairs = [("log", 'say "x"'), ("n", 1.5), ("ok", None), ("m", {"a": "b"})]
    assert (
        Shape((), line_format="key_value").line(pairs)
        == 'log="say \\"x\\"" n=1.500000 ok=nil m="{\\"a\\":\\"b\\"}"'
    )


@pytest.mark.parametrize(
    ("single", "form", "line"),
    [("off", "json", '{"log":"a\\"b"}'), ("on", "json", '"a\\"b"'), ("raw", "json", 'a"b'),
     ("on", "key_value", '"a\\"b"'), ("raw", "key_value", 'a"b')],
)  # fmt: skip
def test_a_line_with_one_key_left(single: str, form: str, line: str) -> None:
    shape = Shape((), removed=(read("$x"),), single_key=single, line_format=form)
    assert shape.line([("log", 'a"b'), ("x", 1)]) == line
    assert Shape((), single_key="raw").line([("log", {"a": 1})]) == '{"a":1}'


def test_structured_metadata() -> None:
    shape = Shape(
        (), metadata=(read_label("id=$sub['id']"),), metadata_maps=(read("$kubernetes"), read("$none"))
    )
    assert shape.structured(RECORD) == {
        "labels": '{"app.kubernetes.io/name":"web","team":"a","job":"theirs"}',
        "id": "7",
    }


def test_a_request() -> None:
    body = push_body({(("job", "x"),): [["1", "a"], ["2", "b", {"c": "d"}]]})
    assert json.loads(body) == {
        "streams": [{"stream": {"job": "x"}, "values": [["1", "a"], ["2", "b", {"c": "d"}]]}]
    }
