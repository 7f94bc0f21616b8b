"""One configuration written in both syntaxes means the same; hostile files are refused, never a traceback.

A configuration is made up, then written in each syntax as people do: keys in any case, values
quoted or bare, comments, includes, variables, flow and block style.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.config.changes import same
from collector.config.document import Document, load_file
from collector.config.schema import InvalidConfiguration

Entries = list[tuple[str, str]]


@dataclass
class Part:
    """A section as it is meant, without any syntax."""

    name: str
    entries: Entries

    @property
    def lowered(self) -> tuple[str, Entries]:
        return self.name, [(key.lower(), value) for key, value in self.entries]


# What both syntaxes can say: no line ends, no blanks at the ends, no variable by accident.
letters = st.characters(exclude_categories=("Cc", "Cs", "Cn", "Co", "Zs", "Zl", "Zp"), exclude_characters="$")
text = st.lists(st.text(letters, min_size=1, max_size=6), min_size=1, max_size=3).map(" ".join)
name = st.from_regex(r"[a-z][a-z0-9_]{0,6}", fullmatch=True)
path = st.from_regex(r"/[a-z*./_-]{1,12}", fullmatch=True)
tag = st.from_regex(r"[a-z]{1,4}(\.[a-z*]{1,3})?", fullmatch=True)
seconds = st.sampled_from(("1", "0.5", "20ms", "1m"))
onoff = st.sampled_from(("On", "off", "TRUE", "no"))
quoted = text.map(lambda one: '"' + one.replace("\\", "\\\\").replace('"', '\\"') + '"')
pair = st.tuples(name, quoted).map(" ".join)


def entry(key: str, value: st.SearchStrategy[str]) -> st.SearchStrategy[tuple[str, str]]:
    return value.map(lambda one: (key, one))


def section(kind: str, plugin: str, **keys: st.SearchStrategy[str]) -> st.SearchStrategy[Part]:
    """Each key once or not at all, in any order."""
    chosen = st.lists(st.sampled_from(sorted(keys)), unique=True) if keys else st.just([])
    entries = chosen.flatmap(lambda some: st.tuples(*(entry(key, keys[key]) for key in some)))
    return entries.map(lambda some: Part(kind, [("Name", plugin), *some]))


def with_match(part: st.SearchStrategy[Part]) -> st.SearchStrategy[Part]:
    match = st.one_of(entry("Match", tag), entry("Match_Regex", st.just(r"^a\.(b|c)")))
    return st.tuples(part, match).map(lambda two: Part(two[0].name, [*two[0].entries, two[1]]))


def ruled(plugin: str, *rules: st.SearchStrategy[tuple[str, str]]) -> st.SearchStrategy[Part]:
    """A filter whose keys repeat, and whose order counts."""
    entries = st.lists(st.one_of(*rules), min_size=1, max_size=4)
    return with_match(entries.map(lambda some: Part("FILTER", [("name", plugin), *some])))


services = section(
    "SERVICE",
    "",
    Flush=seconds,
    Grace=seconds,
    HTTP_Server=onoff,
    Log_Level=st.sampled_from(("info", "Debug")),
).map(lambda one: Part("SERVICE", one.entries[1:]))
sample = text.map(lambda one: json.dumps({"a": one}))
inputs = st.one_of(
    section("INPUT", "Dummy", Tag=tag, Dummy=sample, Copies=st.just("3")),
    section("INPUT", "mem", Tag=tag, Interval_Sec=st.just("2"), Mem_Buf_Limit=st.just("5MB")),
    section(
        "INPUT", "tail", Path=path, Path_Key=text, Read_from_Head=onoff, Buffer_Max_Size=st.just("64Ki")
    ).map(
        lambda one: (
            one
            if any(key == "Path" for key, _ in one.entries)
            else Part(one.name, [*one.entries, ("Path", "/x")])
        )
    ),
)
filters = st.one_of(
    ruled(
        "modify",
        entry("Add", pair),
        entry("SET", pair),
        entry("remove", name),
        entry("Condition", pair.map(lambda one: f"Key_value_equals {one}")),
    ),
    ruled("grep", entry("Regex", name.map(lambda one: f"{one} ^[a-z]+$"))),
    ruled("record_modifier", entry("Record", name.map(lambda one: f"{one} x")), entry("Remove_key", name)),
)
outputs = with_match(
    st.one_of(
        section("OUTPUT", "null", Retry_Limit=st.sampled_from(("3", "no_limits", "False"))),
        section("OUTPUT", "file", Path=path, File=name, Format=st.just("plain"), Mkdir=onoff),
    )
)
parsers = st.tuples(name, st.sampled_from(("json", "ltsv", "logfmt")), text).map(
    lambda one: Part("PARSER", [("Name", one[0]), ("Format", one[1]), ("Time_Key", one[2])])
)
documents = st.tuples(
    services,
    st.lists(parsers, max_size=2),
    st.lists(inputs, min_size=1, max_size=3),
    st.lists(filters, max_size=3),
    st.lists(outputs, min_size=1, max_size=3),
).map(lambda rooms: [rooms[0], *(part for room in rooms[1:] for part in room)])

Draw = Callable[[st.SearchStrategy[Any]], Any]


def cased(key: str, draw: Draw) -> str:
    return str(draw(st.sampled_from((key, key.lower(), key.upper()))))


def classic_of(parts: list[Part], folder: Path, draw: Draw) -> Path:
    """Written with one indentation a file, and the end of it in a file that is included."""
    variables: list[str] = []

    def value(written: str) -> str:
        if not draw(st.booleans()) or "{" in written:
            return written
        variables.append(f"@SET v{len(variables)}={written}")
        return f"${{v{len(variables) - 1}}}"

    def lines(part: Part, indent: str) -> Iterator[str]:
        yield f"[{cased(part.name, draw)}]"
        for key, written in part.entries:
            gap = draw(st.sampled_from((" ", "   ", "\t")))
            yield f"{indent}{cased(key, draw)}{gap}{value(written)}"
            yield from draw(st.sampled_from(([], ["# no key"], [""], [f"{indent}# [INPUT]"])))

    indents = [draw(st.sampled_from(("  ", "    ", "\t"))) for _ in range(2)]
    cut = draw(st.integers(0, len(parts)))
    ends = draw(st.sampled_from(("\n", "\r\n")))
    halves = [
        "".join(line + ends for part in some for line in lines(part, indent))
        for some, indent in zip((parts[:cut], parts[cut:]), indents, strict=True)
    ]
    (folder / "rest.conf").write_text(halves[1], encoding="utf-8", newline="")
    head = "".join(line + ends for line in variables)
    (folder / "main.conf").write_text(
        f"{head}{halves[0]}@INCLUDE re*.conf{ends}", encoding="utf-8", newline=""
    )
    return folder / "main.conf"


LISTS = {"PARSER": "parsers", "INPUT": "inputs", "FILTER": "filters", "OUTPUT": "outputs"}


class YamlWriter:
    """In block or flow style, with values in each kind of quotes; a repeated key as a list or twice."""

    def __init__(self, draw: Draw) -> None:
        self._draw = draw
        self.env: list[str] = []

    def body(self, parts: list[Part]) -> str:
        service = [one for part in parts if part.name == "SERVICE" for one in self._pairs(part)]
        body = "service:\n" + "".join(f"  {one}\n" for one in service)
        for is_parsers, rooms in groupby(
            (part for part in parts if part.name in LISTS), key=lambda part: part.name == "PARSER"
        ):
            indent = "" if is_parsers else "  "
            body += "" if is_parsers else "pipeline:\n"
            for name, some in groupby(rooms, key=lambda part: part.name):
                items = "".join(self._item(part, indent + "  ") for part in some)
                body += f"{indent}{LISTS[name]}: # a list\n{items}"
        return body

    def _item(self, part: Part, indent: str) -> str:
        made = self._pairs(part)
        if self._draw(st.booleans()):
            return f"{indent}- {{{', '.join(made)}}}\n"
        return f"{indent}- " + f"\n{indent}  ".join(made) + "\n"

    def _pairs(self, part: Part) -> list[str]:
        found: list[str] = []
        for key, group in groupby(part.entries, key=lambda one: one[0]):
            values = [self._scalar(value) for _, value in group]
            if len(values) > 1 or self._draw(st.booleans()):
                found.append(f"{cased(key, self._draw)}: [{', '.join(values)}]")
            else:
                found.append(f"{cased(key, self._draw)}: {values[0]}")
        return found

    def _scalar(self, written: str) -> str:
        if "{" not in written and self._draw(st.booleans()):
            self.env.append(f"  v{len(self.env)}: {json.dumps(written, ensure_ascii=False)}")
            written = f"${{v{len(self.env) - 1}}}"
        styles = ["double", "single", "escaped"]
        styles += ["plain"] if re.fullmatch(r"[A-Za-z0-9/_.$]+", written) else []
        match self._draw(st.sampled_from(styles)):
            case "single":
                return "'" + written.replace("'", "''") + "'"
            case "double":
                return json.dumps(written, ensure_ascii=False)
            case "escaped":
                escapes = "".join(f"\\U{ord(one):08x}" for one in written)
                return f'"{escapes}"'
        return written


def yaml_of(parts: list[Part], folder: Path, draw: Draw) -> Path:
    writer = YamlWriter(draw)
    (folder / "body.yaml").write_text(writer.body(parts), encoding="utf-8")
    variables = "env:\n" + "\n".join(writer.env) + "\n" if writer.env else ""
    (folder / "main.yaml").write_text(f"includes: [body.yaml]\n{variables}", encoding="utf-8")
    return folder / "main.yaml"


def written(document: Document) -> list[tuple[str, Entries]]:
    plugins = (*document.inputs, *document.filters, *document.outputs)
    return [
        Part(one.section.name, [(e.key, e.value) for e in one.section.entries]).lowered for one in plugins
    ]


def assert_same(one: Document, other: Document) -> None:
    assert one.service == other.service
    assert one.parsers == other.parsers
    for room in ("inputs", "filters", "outputs"):
        mine, theirs = getattr(one, room), getattr(other, room)
        assert len(mine) == len(theirs)
        assert all(same(*pair) for pair in zip(mine, theirs, strict=True))


@given(documents, st.data())
def test_both_syntaxes_mean_the_same(tmp_path: Path, parts: list[Part], data: st.DataObject) -> None:
    by_syntax = [load_file(str(write(parts, tmp_path, data.draw)), {}) for write in (classic_of, yaml_of)]
    meant = [part.lowered for part in parts if part.name not in ("SERVICE", "PARSER")]
    assert [written(document) for document in by_syntax] == [meant, meant]
    assert_same(*by_syntax)


def read_or_refused(file: Path) -> None:
    """Whatever the file had in it, what is told of it can be printed."""
    problems: tuple[Exception, ...] = ()
    try:
        load_file(str(file), {"HOME": "/root"})
    except InvalidConfiguration as error:
        problems = error.problems
    assert all(str(problem).encode() for problem in problems)


@pytest.mark.parametrize("suffix", ["conf", "yaml"])
@given(raw=st.binary(max_size=60))
def test_hostile_bytes(tmp_path: Path, suffix: str, raw: bytes) -> None:
    file = tmp_path / f"main.{suffix}"
    file.write_bytes(raw)
    read_or_refused(file)


HOSTILE = (
    *(bytes((one,)) for one in b"\0\xff\r\n\t[]{}'$\"(&*"),
    *(b"${", b"${HOME}", b"@INCLUDE *\n", b"@SET a=\n", b"# ", b"(" * 50, b"\xef\xbb\xbf", b"\xe2\x80\xa8"),
    *(b"&a ", b"*a ", b"<<: ", b"!!binary ", b": ", b"- ", b"? ", b"|\n", b"processors:\n"),
    *(b'"\\UFFFFFFFF"', b'"\\ud800"', b'"\\0"', b"%YAML " + b"9" * 5000 + b".1\n---\n"),
)


@pytest.mark.parametrize("write", [classic_of, yaml_of])
@given(
    parts=documents,
    changes=st.lists(
        st.tuples(st.integers(0, 2000), st.integers(0, 20), st.sampled_from(HOSTILE)), min_size=1, max_size=5
    ),
    data=st.data(),
)
def test_spoilt_files(
    tmp_path: Path, write: Any, parts: list[Part], changes: list[tuple[int, int, bytes]], data: st.DataObject
) -> None:
    main = write(parts, tmp_path, data.draw)
    rest = tmp_path / ("rest.conf" if main.suffix == ".conf" else "body.yaml")
    raw = rest.read_bytes()
    for place, gone, new in changes:
        at = place % (len(raw) + 1)
        raw = raw[:at] + new + raw[at + gone :]
    rest.write_bytes(raw)
    read_or_refused(main)
