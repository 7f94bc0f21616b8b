"""What pods ask for by annotations."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from collector.filters.kubernetes_annotations import suggestions
from tests.kubernetes_filter import WEB, WEB_TAG, House, Pairs

ANNOTATED = [
    ({}, "stdout", None, False),
    ({"fluentbit.io/parser": "kv"}, "stdout", "kv", False),
    ({"fluentbit.io/parser": "kv"}, "stderr", "kv", False),
    ({"fluentbit.io/parser": "kv"}, "", "kv", False),
    ({"fluentbit.io/parser_stdout": "kv"}, "stdout", "kv", False),
    ({"fluentbit.io/parser_stdout": "kv"}, "stderr", None, False),
    ({"fluentbit.io/parser_stdout": "kv"}, "", None, False),
    ({"fluentbit.io/parser": "none", "fluentbit.io/parser-httpd": "kv"}, "stdout", "kv", False),
    ({"fluentbit.io/parser-httpd": "kv", "fluentbit.io/parser_stdout": "none"}, "stdout", "kv", False),
    ({"fluentbit.io/parser-ticker": "kv"}, "stdout", None, False),
    ({"fluentbit.io/parser": "none"}, "stdout", None, False),
    ({"fluentbit.io/exclude": "true"}, "stdout", None, True),
    ({"fluentbit.io/exclude": "Yes"}, "", None, True),
    ({"fluentbit.io/exclude": "1"}, "stdout", None, False),
    ({"fluentbit.io/exclude_stderr": "on"}, "stderr", None, True),
    ({"fluentbit.io/exclude_stderr": "on"}, "stdout", None, False),
    ({"fluentbit.io/exclude_stderr": "on"}, "other", None, False),
    ({"fluentbit.io/exclude": "true", "fluentbit.io/exclude-httpd": "false"}, "stdout", None, False),
    ({"fluentbit.io/other": "true", "other/exclude": "true"}, "stdout", None, False),
]


@pytest.mark.parametrize(("annotations", "stream", "parser", "is_left_out"), ANNOTATED)
def test_annotations(
    tmp_path: Path, annotations: dict[str, str], stream: str, parser: str | None, is_left_out: bool
) -> None:
    on = ("K8S-Logging.Parser", "On"), ("K8S-Logging.Exclude", "On"), ("Merge_Log", "On"), ("Keep_Log", "Off")
    house = House(tmp_path, *on)
    house.take(replace(WEB, annotations=annotations))
    head: Pairs = [("stream", stream)] if stream else []
    made = house.apply(WEB_TAG, [*head, ("log", "a=1\n")])
    if is_left_out:
        assert made is None
    elif parser:
        assert made is not None
        assert made[: len(head) + 1] == [*head, ("a", "1")]
    else:
        assert made is not None
        assert made[: len(head) + 1] == [*head, ("log", "a=1\n")]
    # Only a log of which something is asked, of whatever stream, has to be seen.
    own = suggestions(annotations, "httpd", ("parser", "exclude"))[0]
    asks = any(own.excluded.values()) or "kv" in own.parsers.values()
    assert (house.fold(WEB_TAG) is None) == asks


def test_annotations_need_leave(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    house = House(tmp_path, ("Merge_Log", "On"))
    house.take(replace(WEB, annotations={"fluentbit.io/exclude": "true", "fluentbit.io/parser": "kv"}))
    for _ in range(3):
        assert house.apply(WEB_TAG, [("log", "a=1")]) is not None
    assert len(caplog.records) == 2
    assert "'fluentbit.io/exclude' has no effect without K8S-Logging.Exclude On" in caplog.text
    assert WEB.name in caplog.text


def test_parser_that_is_not_there_is_said_once_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    house = House(tmp_path, ("K8S-Logging.Parser", "On"), ("Merge_Log", "On"))
    house.take(replace(WEB, annotations={"fluentbit.io/parser": "none"}))
    for _ in range(2):
        house.apply(WEB_TAG, [("log", "a=1")])
    assert sum("'none', which is not there" in one.message for one in caplog.records) == 1
    assert house.misses("parser") >= 2
