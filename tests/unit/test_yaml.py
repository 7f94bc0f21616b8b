"""The YAML format becomes the same sections, with lines. What is refused is in tests/golden/config."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.config import yaml
from collector.config.sections import Draft


def read(folder: Path, text: str, **others: str) -> Draft:
    for name, content in {"main": text, **others}.items():
        (folder / f"{name}.yaml").write_text(content, encoding="utf-8")
    draft = Draft()
    yaml.read(str(folder / "main.yaml"), draft, "test")
    return draft


def told(draft: Draft) -> list[tuple[str, int, list[tuple[str, str, int]]]]:
    assert [str(problem) for problem in draft.problems] == []
    return [
        (section.name, section.line, [(one.key, one.value, one.line) for one in section.entries])
        for section in draft.sections
    ]


def test_sections_values_and_lines(tmp_path: Path) -> None:
    text = """\
env:
  cluster: test
service:
  flush: 0.5
  http_server: on
parsers:
  - name: json
    format: json
multiline_parsers:
  - name: java
    rules:
      - {state: start_state, regex: /x/, next_state: cont}
pipeline:
  inputs:
    - name: tail
      path: "/var/log/*.log"
  filters:
    - name: modify
      match: '*'
      add:
        - a 1
        - b ${cluster}
  outputs:
    - {name: stdout, match: '*'}
"""
    draft = read(tmp_path, text)
    assert told(draft) == [
        ("SERVICE", 4, [("flush", "0.5", 4), ("http_server", "on", 5)]),
        ("PARSER", 7, [("name", "json", 7), ("format", "json", 8)]),
        ("MULTILINE_PARSER", 10, [("name", "java", 10), ("rule", '"start_state" "/x/" "cont"', 12)]),
        ("INPUT", 15, [("name", "tail", 15), ("path", "/var/log/*.log", 16)]),
        (
            "FILTER",
            18,
            [("name", "modify", 18), ("match", "*", 19), ("add", "a 1", 21), ("add", "b ${cluster}", 22)],
        ),
        ("OUTPUT", 24, [("name", "stdout", 24), ("match", "*", 24)]),
    ]
    assert [(one.key, one.value, one.line) for one in draft.variables] == [("cluster", "test", 2)]


def test_keys_of_the_service_may_be_nested(tmp_path: Path) -> None:
    text = """\
service:
  storage:
    path: /s
    storage.sync: full
    backlog: {mem_limit: 5M}
  telemetry: {metrics: {logs: {tag_records: {enabled: true}}}}
  flush: 1
"""
    assert told(read(tmp_path, text)) == [
        (
            "SERVICE",
            2,
            [
                ("storage.path", "/s", 3),
                ("storage.sync", "full", 4),
                ("storage.backlog.mem_limit", "5M", 5),
                ("telemetry.metrics.logs.tag_records.enabled", "true", 6),
                ("flush", "1", 7),
            ],
        )
    ]


def test_values_stay_as_they_are_written(tmp_path: Path) -> None:
    draft = read(tmp_path, "service:\n  a: On\n  b: 0x10\n  c: 1_000\n  d: 2026-01-01\n  e: 'no'\n")
    assert [one.value for one in draft.sections[0].entries] == ["On", "0x10", "1_000", "2026-01-01", "no"]


def test_includes(tmp_path: Path) -> None:
    more = "pipeline:\n  inputs:\n    - name: tail\n"
    draft = read(tmp_path, "includes:\n  - more*.yaml\nservice:\n  flush: 1\n", more1=more, more2=more)
    assert [section[0] for section in told(draft)] == ["INPUT", "INPUT", "SERVICE"]


def test_empty_files_and_empty_parts(tmp_path: Path) -> None:
    assert told(read(tmp_path, "")) == []
    assert told(read(tmp_path, "pipeline:\n  inputs:\n  filters: []\n")) == []


def test_aliases_do_not_multiply(tmp_path: Path) -> None:
    """A value that refers to itself ten times over, nine levels deep, is refused and not unfolded."""
    levels = "\n".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10))
    draft = read(tmp_path, f"a0: &a0 x\n{levels}\nservice:\n  flush: *a9\n")
    assert len(draft.problems) == 20


def test_deep_nesting_is_refused(tmp_path: Path) -> None:
    draft = read(tmp_path, "service: " + "[" * 20000)
    assert [str(problem) for problem in draft.problems] == [
        f"{tmp_path}/main.yaml: the YAML is nested too deeply."
    ]


def test_variables_as_a_list(tmp_path: Path) -> None:
    draft = read(tmp_path, "env:\n  - {name: a, value: '1'}\n  - name: b\n    uri: file:///run/secrets/b\n")
    assert told(draft) == []
    assert [(one.key, one.value, one.line) for one in draft.variables] == [
        ("a", "1", 2),
        ("b", "file:///run/secrets/b", 3),
    ]


@pytest.mark.parametrize("text", ['flush: "\\UFFFFFFFF"', f"%YAML {'9' * 5000}.1\n---\n"])
def test_numbers_that_pyyaml_can_not_take(tmp_path: Path, text: str) -> None:
    (problem,) = read(tmp_path, text).problems
    assert "main.yaml: this is no YAML: a number in it is too large:" in str(problem)


@pytest.mark.parametrize("escape", ["\\0", "\\ud800"])
def test_what_no_text_can_have(tmp_path: Path, escape: str) -> None:
    value = f'"a{escape}"'
    text = f"env: {{a: {value}}}\nincludes: [{value}]\nservice: {{{value}: 1, log_file: {value}}}\n"
    problems = read(tmp_path, text).problems
    assert [str(one).partition("main.yaml:")[2] for one in problems] == [
        "1: the variable a must be a plain value.",
        "2: an include must be a path.",
        "3: a key must be a plain name.",
        f"3: log_file is 'a{escape.replace('0', 'x00') if escape == chr(92) + '0' else escape}': "
        "expected text without NUL and surrogates.",
    ]


pieces = st.sampled_from(
    ["service:", "pipeline:", "inputs:", "- ", "  ", "\n", "a: b", "&x", "*x", "[", "]", "{", "'"]
)


@given(st.lists(pieces | st.text(max_size=6), max_size=15).map("".join))
def test_any_text_is_read_or_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "main.yaml").write_bytes(text.encode("utf-8", "surrogatepass"))
    draft = Draft()
    yaml.read(str(tmp_path / "main.yaml"), draft, "test")
    assert all(entry.key and entry.value for section in draft.sections for entry in section.entries)
