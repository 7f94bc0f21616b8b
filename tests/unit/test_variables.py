"""`${NAME}`: where values come from, and what is said when there is none."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from collector.config.sections import Draft, Entry, Section
from collector.config.variables import replace_variables


def replaced(value: str, environ: dict[str, str], *variables: tuple[str, str]) -> tuple[str, list[str]]:
    draft = Draft(
        sections=[Section("INPUT", "a.conf", 1, (Entry("Tag", value, "a.conf", 2),))],
        variables=[Entry(name, text, "a.conf", 9) for name, text in variables],
    )
    (section,) = replace_variables(draft, environ)
    return section.entries[0].value, [str(problem) for problem in draft.problems]


def test_from_the_environment_and_from_set() -> None:
    assert replaced("${A}-${B}.$C.${", {"A": "1", "B": "2"}, ("B", "3")) == ("1-3.$C.${", [])


def test_a_variable_may_use_those_before_it() -> None:
    assert replaced("${B}", {"A": "1"}, ("A", "2"), ("B", "${A}${A}")) == ("22", [])


def test_a_value_is_not_replaced_twice() -> None:
    assert replaced("${A}", {"A": "${B}", "B": "x"}) == ("${B}", [])


def test_an_empty_variable_is_set() -> None:
    assert replaced("a${A}b", {"A": ""}) == ("ab", [])


def test_the_host_name_is_always_there() -> None:
    assert replaced("${HOSTNAME}", {}) == (os.uname().nodename, [])
    assert replaced("${HOSTNAME}", {"HOSTNAME": "other"}) == ("other", [])


def test_what_is_not_set_is_a_problem() -> None:
    assert replaced("${A} ${B}", {"A": "1"}) == (
        "1 ${B}",
        [
            "a.conf:2: Tag is '${A} ${B}', but ${B} is not set. "
            "Set B in the environment (env of the DaemonSet), or by @SET B=value."
        ],
    )


def test_a_variable_may_be_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("${SECRET}\n")
    assert replaced("a ${T}", {"DIR": str(tmp_path)}, ("T", "file://${DIR}/token")) == ("a ${SECRET}", [])
    assert replaced("${T}", {"T": "file:///x"}) == ("file:///x", [])


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "but that can't be read: No such file or directory."),
        (b"\xff", "but that can't be read: it is no text in UTF-8."),
        (
            b"a\nb\n",
            "which is not one line of up to 64 KiB. Name a file that holds the value and nothing else.",
        ),
        (
            b"a" * (1 << 20),
            "which is not one line of up to 64 KiB. Name a file that holds the value and nothing else.",
        ),
    ],
)
def test_files_that_hold_no_variable(tmp_path: Path, content: bytes | None, told: str) -> None:
    if content is not None:
        (tmp_path / "token").write_bytes(content)
    path = f"file://{tmp_path}/token"
    assert replaced("${T}", {}, ("T", path))[1] == [f"a.conf:9: T is '{path}', {told}"]
