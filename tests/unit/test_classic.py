"""The classic format: what a file's lines become. What is refused is in tests/golden/config."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from collector.config import classic
from collector.config.sections import Draft

Read = list[tuple[str, list[tuple[str, str, int]]]]


def read(folder: Path, text: str, **others: str) -> Draft:
    for name, content in {"main": text, **others}.items():
        (folder / f"{name}.conf").write_text(content, encoding="utf-8", newline="")
    draft = Draft()
    classic.read(str(folder / "main.conf"), draft, "test")
    return draft


def told(draft: Draft) -> Read:
    assert [str(problem) for problem in draft.problems] == []
    return [
        (section.name, [(one.key, one.value, one.line) for one in section.entries])
        for section in draft.sections
    ]


def test_sections_entries_and_lines(tmp_path: Path) -> None:
    text = "# c\n\n[INPUT]\n    Name tail\n    # c\n\n    Tag   a # no comment \t\n[output]\n    NAME\tnull\n"
    assert told(read(tmp_path, text)) == [
        ("INPUT", [("Name", "tail", 4), ("Tag", "a # no comment", 7)]),
        ("OUTPUT", [("NAME", "null", 9)]),
    ]


def test_repeated_keys_and_sections_keep_their_order(tmp_path: Path) -> None:
    text = "[FILTER]\n  Add a 1\n  Set b 2\n  Add c 3\n[FILTER]\n  Add d 4\n"
    assert told(read(tmp_path, text)) == [
        ("FILTER", [("Add", "a 1", 2), ("Set", "b 2", 3), ("Add", "c 3", 4)]),
        ("FILTER", [("Add", "d 4", 6)]),
    ]


def test_line_ends_of_windows_and_a_byte_order_mark(tmp_path: Path) -> None:
    assert told(read(tmp_path, "\ufeff[INPUT]\r\n  Name tail\r\n")) == [("INPUT", [("Name", "tail", 2)])]


def test_no_newline_at_the_end(tmp_path: Path) -> None:
    assert told(read(tmp_path, "[INPUT]\n  Name tail")) == [("INPUT", [("Name", "tail", 2)])]


def test_tabs_are_an_indentation(tmp_path: Path) -> None:
    assert told(read(tmp_path, "[INPUT]\n\tName tail\n\tTag x\n")) == [
        ("INPUT", [("Name", "tail", 2), ("Tag", "x", 3)])
    ]


def test_variables_are_noted_with_their_place(tmp_path: Path) -> None:
    draft = read(tmp_path, "@SET a = b=c \n@set d=\n")
    assert [(one.key, one.value, one.line) for one in draft.variables] == [("a", "b=c", 1), ("d", "", 2)]


def test_included_files_may_have_another_indentation(tmp_path: Path) -> None:
    draft = read(
        tmp_path, "[SERVICE]\n    Flush 1\n@INCLUDE more.conf\n    Grace 2\n", more="[INPUT]\n Name tail\n"
    )
    # The keys behind the command still belong to the section that was open before.
    assert told(draft) == [
        ("SERVICE", [("Flush", "1", 2), ("Grace", "2", 4)]),
        ("INPUT", [("Name", "tail", 2)]),
    ]


def test_a_pattern_includes_in_the_order_of_names(tmp_path: Path) -> None:
    files = {f"in{number}": f"[INPUT]\n  Name n{number}\n" for number in (2, 1, 3)}
    assert [entries[0][1] for _, entries in told(read(tmp_path, "@INCLUDE in*.conf\n", **files))] == [
        "n1",
        "n2",
        "n3",
    ]


def test_paths_are_relative_to_the_including_file(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "one.conf").write_text("@INCLUDE two.conf\n")
    (tmp_path / "sub" / "two.conf").write_text("[INPUT]\n  Name tail\n")
    draft = read(tmp_path, "@include sub/one.conf\n")
    assert told(draft) == [("INPUT", [("Name", "tail", 2)])]
    assert draft.sections[0].file == f"{tmp_path}/sub/two.conf"


def test_paths_may_be_relative_to_the_main_file(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "one.conf").write_text("@INCLUDE two.conf\n")
    draft = read(tmp_path, "@INCLUDE sub/one.conf\n", two="[INPUT]\n  Name tail\n")
    assert told(draft) == [("INPUT", [("Name", "tail", 2)])]


def test_a_cycle_ends(tmp_path: Path) -> None:
    draft = read(tmp_path, "@INCLUDE a.conf\n", a="@INCLUDE b.conf\n", b="@INCLUDE a.conf\n")
    assert [str(problem) for problem in draft.problems] == [
        f"{tmp_path}/b.conf:1: {tmp_path}/a.conf was read already, by {tmp_path}/main.conf:1. "
        "Include a file only once."
    ]


lines = st.sampled_from(
    [
        "[INPUT]",
        "[X",
        "]",
        " Name a",
        "  Name a",
        "\tb c",
        "key",
        "@SET a=b",
        "@INCLUDE x",
        "#",
        "",
        " [G]",
        "[ ]",
    ]
) | st.text(max_size=12)


@given(st.lists(lines, max_size=12))
def test_any_text_is_read_or_refused(tmp_path: Path, text: list[str]) -> None:
    (tmp_path / "main.conf").write_bytes("\n".join(text).encode("utf-8", "surrogatepass"))
    draft = Draft()
    classic.read(str(tmp_path / "main.conf"), draft, "test")
    assert all(entry.key and entry.value for section in draft.sections for entry in section.entries)
