"""The keys of tail, and the plan that they mean."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from collector.config.document import load_file, load_sections
from collector.config.sections import Entry, Section
from collector.context import InputContext
from collector.delivery.database import DatabaseModes
from collector.errors import ConfigError
from collector.inputs.tail_groups import HIDDEN_OFFSET
from collector.inputs.tail_settings import Settings, grouping_of, max_record_bytes, plan_of
from collector.plan import CRI_JOINED_LAYOUT, CRI_LAYOUT, Framing, Layout, LogPlan

BRIEF = """
[INPUT]
    Name              tail
    Tag               kube.*
    Path              /var/log/containers/*.log
    Parser            cri
    DB                /var/log/flb-kube.db
    Mem_Buf_Limit     50MB
    Skip_Long_Lines   On
    Refresh_Interval  10
[INPUT]
    Name              tail
    Tag               audit.*
    Path              /var/log/kubernetes/audit/audit.log
    Parser            json
    DB                /var/log/flb-audit.db
    Mem_Buf_Limit     100MB
[OUTPUT]
    Name              null
    Match             *
"""


def loaded(service: dict[str, str] | None = None, /, **keys: str) -> tuple[Settings, InputContext]:
    entries = {"Name": "tail", "Path": "/var/log/*.log", **{k.replace("__", "."): v for k, v in keys.items()}}
    section = Section("INPUT", "f", 1, tuple(Entry(key, value, "f", 2) for key, value in entries.items()))
    output = Section("OUTPUT", "f", 9, (Entry("Name", "null", "f", 9),))
    common = Section("SERVICE", "f", 20, tuple(Entry(*one, "f", 20) for one in (service or {}).items()))
    document = load_sections([section, output, common], {})
    context = InputContext.__new__(InputContext)
    object.__setattr__(context, "document", document)
    object.__setattr__(context, "plugin", document.inputs[0])
    return document.inputs[0].settings, context


def test_a_configuration_of_fluent_bit_loads(tmp_path: Path) -> None:
    path = tmp_path / "fluent-bit.conf"
    path.write_text(BRIEF)
    kube, audit = (config.settings for config in load_file(str(path), {}).inputs)
    assert kube.path == ("/var/log/containers/*.log",)
    assert (kube.refresh_interval_s, kube.rotate_wait_s, kube.skip_long_lines) == (10, 5, True)
    assert (kube.db, audit.db) == ("/var/log/flb-kube.db", "/var/log/flb-audit.db")
    assert (audit.refresh_interval_s, audit.parser) == (60, "json")


@pytest.mark.parametrize(
    ("keys", "plan"),
    [
        ({}, LogPlan(Framing.LINE, Layout(content="log"))),
        ({"Key": "message"}, LogPlan(Framing.LINE, Layout(content="message", raw="message"))),
        ({"Parser": "cri"}, LogPlan(Framing.CRI, CRI_LAYOUT)),
        ({"multiline__parser": "cri"}, LogPlan(Framing.CRI_JOINED, CRI_JOINED_LAYOUT)),
        ({"multiline__parser": "docker, cri"}, LogPlan(Framing.CONTAINER_JOINED, CRI_JOINED_LAYOUT)),
        ({"multiline__parser": "docker"}, LogPlan(Framing.DOCKER_JOINED, CRI_JOINED_LAYOUT)),
        ({"Docker_Mode": "On", "Parser": "docker"}, LogPlan(Framing.DOCKER_JOINED, CRI_JOINED_LAYOUT)),
        ({"Parser": "docker"}, LogPlan(Framing.JSON, Layout(time="time"))),
        ({"Parser": "json"}, LogPlan(Framing.JSON, Layout())),
        (
            {"Offset_Key": "at", "Skip_Long_Lines": "On", "Skip_Empty_Lines": "On"},
            LogPlan(Framing.LINE, Layout(offset="at"), (), True, True),
        ),
        ({"multiline__parser": "go"}, LogPlan(Framing.LINE, Layout(offset=HIDDEN_OFFSET))),
        (
            {"multiline__parser": "cri, go", "Offset_Key": "at"},
            LogPlan(Framing.CRI_JOINED, replace(CRI_JOINED_LAYOUT, offset="at")),
        ),
        ({"multiline__parser": "cri", "Parser": "json"}, LogPlan(Framing.CRI_JOINED, CRI_JOINED_LAYOUT)),
    ],
)
def test_the_plan_is_that_of_the_parser(keys: dict[str, str], plan: LogPlan) -> None:
    assert plan_of(*loaded(**keys)) == plan


def test_a_parser_that_can_not_be_run_is_named_with_its_place() -> None:
    settings, context = loaded(Parser="json")
    object.__setattr__(settings, "parser", "nothing")
    with pytest.raises(ConfigError, match=r"^f:1: .*nothing"):
        plan_of(settings, context)


@pytest.mark.parametrize(("written", "expected"), [("32k", 2 << 20), ("8M", 8_000_000)])
def test_what_is_joined_may_have_two_mebibytes_at_least(written: str, expected: int) -> None:
    for joins in ({"multiline__parser": "cri"}, {"Docker_Mode": "On"}, {"multiline__parser": "java"}):
        assert max_record_bytes(*loaded(Buffer_Max_Size=written, **joins)) == expected


@pytest.mark.parametrize(
    ("line", "joined", "expected"),
    [("2M", "200KB", 200 << 10), ("32k", "4M", 4 << 20), ("8M", "4M", 8_000_000), ("8M", "10MB", 10 << 20)],
)
def test_what_is_joined_may_have_what_the_service_says(line: str, joined: str, expected: int) -> None:
    service = {"Multiline_Buffer_Limit": joined}
    assert max_record_bytes(*loaded(service, Buffer_Max_Size=line, multiline__parser="cri")) == expected
    assert max_record_bytes(*loaded(service, Buffer_Max_Size="32k")) == 32_000
    grouping = grouping_of(*loaded(service, Buffer_Max_Size=line, multiline__parser="java"))
    assert grouping is not None
    assert grouping.limit_bytes == expected


@pytest.mark.parametrize(("written", "expected"), [("32k", 32_000), ("1024", 1024), ("8M", 8_000_000)])
def test_a_line_may_have_what_the_user_says(written: str, expected: int) -> None:
    assert max_record_bytes(*loaded(Buffer_Max_Size=written)) == expected
    assert max_record_bytes(*loaded()) == 2_000_000


def test_the_least_that_the_message_names_is_taken() -> None:
    assert max_record_bytes(*loaded(Buffer_Max_Size="1k")) == 1000


@pytest.mark.parametrize("key", ["Path", "Refresh_Interval", "multiline__parser", "Buffer_Max_Size"])
def test_values_that_make_no_sense_are_refused(key: str) -> None:
    values = {"Refresh_Interval": "0", "Buffer_Max_Size": "100", "multiline__parser": "jave", "Path": " , "}
    with pytest.raises(ConfigError):
        loaded(**{key: values[key]})


@pytest.mark.parametrize(
    ("keys", "reason"),
    [
        ({"Multiline": "On"}, "Multiline On without Parser_Firstline"),
        ({"Multiline": "On", "Parser_Firstline": "json", "multiline__parser": "cri"}, "another way to join"),
        ({"Multiline": "On", "Parser_Firstline": "jsn"}, "no parser called 'jsn'. Did you mean json"),
        ({"Parser_Frstline": "json"}, "has Parser_frstline. Write Parser_Firstline"),
        ({"Docker_Mode": "On", "multiline__parser": "cri"}, "Write docker among the latter"),
        ({"Tag_Regex": "(?=x)"}, "looks ahead"),
        ({"Docker_Mode_Parser": "x"}, "podwitness does not have"),
    ],
)
def test_what_is_refused_says_what_to_write(keys: dict[str, str], reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        loaded(**keys)


@pytest.mark.parametrize(
    ("keys", "modes"),
    [
        ({}, DatabaseModes("normal", "WAL", is_exclusive=False)),
        ({"DB__sync": "full"}, DatabaseModes("full", "WAL", is_exclusive=False)),
        (
            {"DB__sync": "Extra", "DB__journal_mode": "delete", "DB__locking": "true"},
            DatabaseModes("extra", "DELETE", is_exclusive=True),
        ),
    ],
)
def test_how_the_database_is_written(keys: dict[str, str], modes: DatabaseModes) -> None:
    settings, _ = loaded(**keys)
    assert settings.db_modes == modes
