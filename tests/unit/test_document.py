"""A whole configuration: what is right becomes a document, what is wrong is said exactly so."""

from __future__ import annotations

from pathlib import Path

import pytest

from collector.config.document import Document, load_file, load_sections
from collector.config.schema import InvalidConfiguration
from collector.config.sections import Entry, Section
from collector.config.stock_parsers import STOCK

GOLDEN = Path(__file__).parents[1] / "golden" / "config"
BAD = sorted(path.name for path in GOLDEN.iterdir() if path.suffix in (".conf", ".yaml"))


@pytest.mark.parametrize("name", BAD)
def test_bad_files_are_refused_with_these_words(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(GOLDEN)
    with pytest.raises(InvalidConfiguration) as caught:
        load_file(name, {})
    assert str(caught.value) + "\n" == (GOLDEN / f"{name}.txt").read_text(encoding="utf-8")


def write(folder: Path, **files: str) -> str:
    for name, text in files.items():
        (folder / f"{name}.conf").write_text(text, encoding="utf-8")
    return str(folder / "main.conf")


MINIMAL = """
[INPUT]
    Name systemd
[OUTPUT]
    Name stdout
    Match *
"""


def test_names_tags_and_matches(tmp_path: Path) -> None:
    text = """
[INPUT]
    Name SystemD
    Tag  host.*
[INPUT]
    Name systemd
    Mem_Buf_Limit 5M
[INPUT]
    Name  systemd
    Alias journal
    Log_Level debug
[FILTER]
    Name modify
    Match_Regex ^host\\.
    Add a 1
[OUTPUT]
    Name null
    Match host.*
    Retry_Limit no_limits
[OUTPUT]
    Name null
    Match a*c
    Match_Regex ^x
"""
    document = load_file(write(tmp_path, main=text), {})
    assert [(one.name, one.plugin, one.tag) for one in document.inputs] == [
        ("systemd.0", "systemd", "host.*"),
        ("systemd.1", "systemd", "systemd.1"),
        ("journal", "systemd", "journal"),
    ]
    assert document.inputs[1].mem_buf_limit_bytes == 5_000_000
    assert [one.log_level for one in document.inputs] == ["", "", "debug"]
    (modify,) = document.filters
    assert modify.matches("host.x")
    assert not modify.matches("xhost.x")
    first, second = document.outputs
    assert (first.retry_limit, second.retry_limit) == (None, 1)
    assert first.matches("host.a.b")
    assert not first.matches("host")
    assert [tag for tag in ("ac", "abc", "abcd", "xyz") if second.matches(tag)] == ["ac", "abc", "xyz"]


def test_the_only_output_of_the_only_input_needs_no_match(tmp_path: Path) -> None:
    document = load_file(write(tmp_path, main=MINIMAL.replace("    Match *\n", "")), {})
    assert document.outputs[0].matches("anything")


def test_service_sections_are_one(tmp_path: Path) -> None:
    text = "[SERVICE]\n    Flush 2\n    Grace 3\n" + MINIMAL + "[SERVICE]\n    Flush 4\n"
    service = load_file(write(tmp_path, main=text), {}).service
    assert (service.flush_s, service.grace_s) == (4.0, 3.0)


def test_keys_without_effect_are_told(tmp_path: Path) -> None:
    text = "[SERVICE]\n    Coro_Stack_Size 24576\n" + MINIMAL + "    Workers 2\n"
    notices = load_file(write(tmp_path, main=text), {}).notices
    assert [notice.partition("main.conf:")[2] for notice in notices] == [
        "2: Coro_Stack_Size has no effect: podwitness has no coroutine stacks.",
        "9: Workers has no effect: there are no worker threads to set up.",
    ]


def test_the_level_of_the_environment_comes_first(tmp_path: Path) -> None:
    path = write(tmp_path, main="[SERVICE]\n    Log_Level warn\n" + MINIMAL)
    assert load_file(path, {"FLB_LOG_LEVEL": "Debug"}).service.log_level == "debug"
    assert load_file(path, {"FLB_LOG_LEVEL": ""}).service.log_level == "warn"
    with pytest.raises(InvalidConfiguration, match="FLB_LOG_LEVEL:1: Log_Level is 'loud': expected one of"):
        load_file(path, {"FLB_LOG_LEVEL": "loud"})


@pytest.mark.parametrize(
    ("service", "own", "spools"),
    [
        ("storage.type memory\n    storage.inherit On", "", False),
        ("storage.type memrb\n    storage.inherit On", "", False),
        ("storage.type memory\n    storage.inherit On", "    storage.type filesystem\n", True),
        ("storage.type memory", "", True),
        ("storage.inherit On", "", True),
    ],
)
def test_inputs_have_the_storage_type_of_the_service(
    tmp_path: Path, service: str, own: str, spools: bool
) -> None:
    input_line = next(line for line in MINIMAL.splitlines(keepends=True) if "Name" in line)
    text = f"[SERVICE]\n    {service}\n" + MINIMAL.replace(input_line, input_line + own, 1)
    document = load_file(write(tmp_path, main=text), {})
    assert document.inputs[0].common.storage_type == ("filesystem" if spools else "memory")  # type: ignore[attr-defined]


def test_what_is_refused_may_be_off(tmp_path: Path) -> None:
    text = "[SERVICE]\n    Config_Watch Off\n" + MINIMAL.replace("Name stdout", "Name opentelemetry")
    off = (
        text + "    Retry_Limit False\n    grpc off\n    aws_auth false\n    logs_body_key_attributes true\n"
    )
    document = load_file(write(tmp_path, main=off), {})
    assert [notice.split(": ")[1] for notice in document.notices] == [
        f"{key} has no effect" for key in ("Config_Watch", "grpc", "aws_auth")
    ]
    assert document.outputs[0].settings.logs_body_key_attributes
    assert document.outputs[0].common.retry_limit is None  # type: ignore[attr-defined]
    with pytest.raises(InvalidConfiguration, match="Send over HTTP"):
        load_file(write(tmp_path, main=text + "    grpc on\n"), {})


def test_what_is_on_unless_told_is_refused_when_it_is_off(tmp_path: Path) -> None:
    text = MINIMAL.replace("Name stdout", "Name null")
    head, _, tail = text.partition("[OUTPUT]")
    with pytest.raises(InvalidConfiguration, match="Routable"):
        load_file(write(tmp_path, main=f"{head.rstrip()}\n    Routable Off\n[OUTPUT]{tail}"), {})


def test_stock_parsers_files_may_be_missing(tmp_path: Path) -> None:
    text = "[SERVICE]\n    Parsers_File parsers.conf\n    Parsers_File /etc/custom_parsers.conf\n" + MINIMAL
    document = load_file(write(tmp_path, main=text), {})
    assert document.parsers == STOCK
    assert [notice.rpartition("/")[2] for notice in document.notices] == [
        "parsers.conf is not there; the built-in parsers are used.",
        "custom_parsers.conf is not there; the built-in parsers are used.",
    ]


def test_parsers_come_from_files_beside_the_configuration(tmp_path: Path) -> None:
    text = "[SERVICE]\n    Parsers_File parsers.conf\n    Parsers_File more.conf\n" + MINIMAL
    more = "[PARSER]\n    Name json\n    Format json\n    Time_Key at\n"
    lines = (
        "[MULTILINE_PARSER]\n    name java\n    type regex\n"
        '    rule "start_state" "/^x/" "cont"\n    rule "cont" "/^y/" "cont"\n'
    )
    twice = "[PARSER]\n    Name json\n    Format json\n" + lines + lines
    path = write(tmp_path, main=text, parsers=more, more=twice)
    document = load_file(path, {})
    assert document.parsers["json"].time_key == "at"
    assert [rule.then for rule in document.multiline_parsers["java"].rules] == ["cont", "cont"]
    folder = str(tmp_path)
    assert document.notices == (
        f"{folder}/more.conf:1: the parser json of {folder}/parsers.conf:1 is used instead.",
        f"{folder}/more.conf:9: the multiline parser java of {folder}/more.conf:4 is used instead.",
    )
    assert document.files == tuple(f"{folder}/{name}.conf" for name in ("main", "parsers", "more"))


def test_parsers_that_can_not_be_run_are_refused_where_they_are_used(tmp_path: Path) -> None:
    text = (
        "[PARSER]\n    Name app\n    Format regex\n    Regex (?<a>x)(?=y)\n"
        "[PARSER]\n    Name unused\n    Format regex\n    Regex (?<a>x)(?=y)\n"
        "[INPUT]\n    Name tail\n    Path /x\n    Parser app\n"
        "[FILTER]\n    Name parser\n    Match *\n    Key_Name log\n    Parser json\n    Parser ap\n"
        "[OUTPUT]\n    Name null\n    Match *\n"
    )
    with pytest.raises(InvalidConfiguration) as caught:
        load_file(write(tmp_path, main=text), {})
    assert [str(one).partition("main.conf:")[2] for one in caught.value.problems] == [
        "12: expected a regular expression that RE2 can run; (?= looks ahead, whose time has no bound.",
        "18: there is no parser called 'ap'. Did you mean app?",
    ]


def test_a_plugin_that_is_not_there_is_refused_with_what_does_its_work(tmp_path: Path) -> None:
    text = MINIMAL + "[FILTER]\n    Name lua\n    Match *\n    script a.lua\n"
    with pytest.raises(
        InvalidConfiguration, match=r"there is no filter called 'lua'\. podwitness runs no scripts"
    ):
        load_file(write(tmp_path, main=text), {})


@pytest.mark.parametrize(
    ("section", "name", "hint"),
    [
        ("OUTPUT", "cloudwatch_logs", "Send by the output forward to a Fluent Bit or Fluentd that has it"),
        ("OUTPUT", "S3", "Send by the output forward"),
        ("INPUT", "fluentbit_metrics", "own metrics are served at /metrics"),
    ],
)
def test_what_clouds_examples_name_is_refused_with_a_way(
    tmp_path: Path, section: str, name: str, hint: str
) -> None:
    text = MINIMAL + f"[{section}]\n    Name {name}\n"
    with pytest.raises(InvalidConfiguration, match=hint):
        load_file(write(tmp_path, main=text), {})


def test_multiline_parsers_of_every_line_are_looked_up(tmp_path: Path) -> None:
    tail = "[INPUT]\n    Name tail\n    Path /x\n    multiline.parser docker\n    multiline.parser {}\n"
    good, bad = (tail.format(name) + "[OUTPUT]\n    Name null\n    Match *\n" for name in ("cri", "jave"))
    load_file(write(tmp_path, main=good), {})
    with pytest.raises(
        InvalidConfiguration, match=r"main.conf:5: there is no multiline parser called 'jave'"
    ):
        load_file(write(tmp_path, main=bad), {})


def test_includes_and_variables_across_files(tmp_path: Path) -> None:
    main = "@SET tag=host\n@INCLUDE in*.conf\n[OUTPUT]\n    Name stdout\n    Match ${tag}.*\n"
    one = "[INPUT]\n    Name systemd\n    Tag ${tag}.${NODE}\n@SET tag=other\n"
    document = load_file(write(tmp_path, main=main, in1=one), {"NODE": "n1"})
    # All @SET count everywhere; the last one wins.
    assert document.inputs[0].tag == "other.n1"
    assert document.inputs[0].section.place == f"{tmp_path}/in1.conf:1"


def test_yaml_and_classic_say_the_same(tmp_path: Path) -> None:
    classic = (
        "[SERVICE]\n    Flush 3\n"
        + MINIMAL
        + "[FILTER]\n    Name modify\n    Match *\n    Add a b\n    Add c d\n"
    )
    yaml = """
service: {flush: 3}
pipeline:
  inputs:
    - name: systemd
  outputs:
    - name: stdout
      match: '*'
  filters:
    - name: modify
      match: "*"
      add: [a b, c d]
"""
    (tmp_path / "main.yaml").write_text(yaml, encoding="utf-8")

    def told(document: Document) -> object:
        plugins = (*document.inputs, *document.filters, *document.outputs)
        return document.service, [(one.name, one.settings, one.common) for one in plugins]

    assert told(load_file(str(tmp_path / "main.yaml"), {})) == told(
        load_file(write(tmp_path, main=classic), {})
    )


def test_sections_without_a_file() -> None:
    sections = [
        Section(kind, "argument", 1, (Entry("Name", name, "argument", 1),))
        for kind, name in (("INPUT", "systemd"), ("OUTPUT", "null"))
    ]
    assert [one.name for one in load_sections(sections, {}).outputs] == ["null.0"]


def test_a_file_that_is_not_there() -> None:
    with pytest.raises(InvalidConfiguration) as caught:
        load_file("/nowhere/fluent-bit.conf", {})
    assert (
        str(caught.value)
        == "command line: /nowhere/fluent-bit.conf can't be read: No such file or directory."
    )


def test_a_mistaken_path_does_not_fill_the_memory() -> None:
    with pytest.raises(InvalidConfiguration, match="/dev/zero is larger than 16 MiB"):
        load_file("/dev/zero", {})
