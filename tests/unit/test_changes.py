"""Two configurations side by side: what goes on, what ends, what begins, what takes a restart."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from collector.config.changes import obstacles, turnover, uses_parser
from collector.config.document import Document, load_file

SERVICE = "[SERVICE]\n    Flush 1\n"
TAIL = "[INPUT]\n    Name tail\n    Path /var/log/a.log\n    Parser json\n"
JOURNAL = "[INPUT]\n    Name systemd\n    Tag host.*\n"
MODIFY = "[FILTER]\n    Name modify\n    Match *\n    Add a b\n"
NULL = "[OUTPUT]\n    Name null\n    Match *\n"


Load = Callable[[str], Document]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    def read(text: str) -> Document:
        path = tmp_path / "main.conf"
        path.write_text(text)
        return load_file(str(path), {})

    return read


def begun(before: Document, after: Document, **more: bool) -> tuple[tuple[str, ...], list[str]]:
    found = turnover(before.inputs, after.inputs, **more)
    return found.ended, [one.name for one in found.begun]


def test_what_only_moved_in_the_file_goes_on(load: Load) -> None:
    before, after = load(TAIL + JOURNAL + NULL), load(SERVICE + JOURNAL + TAIL + MODIFY + NULL)
    assert begun(before, after) == ((), [])


def test_a_changed_input_ends_and_begins(load: Load) -> None:
    before, after = load(TAIL + JOURNAL + NULL), load(TAIL.replace("a.log", "b.log") + JOURNAL + NULL)
    assert begun(before, after) == (("tail.0",), ["tail.0"])
    assert begun(load(TAIL + NULL), load(JOURNAL + NULL)) == (("tail.0",), ["systemd.0"])
    retagged = load(TAIL + JOURNAL.replace("host", "node") + NULL)
    assert begun(before, retagged) == (("systemd.0",), ["systemd.0"])


def test_other_parsers_concern_those_that_use_one(load: Load) -> None:
    document = load(TAIL + JOURNAL + MODIFY + NULL)
    assert [uses_parser(one) for one in (*document.inputs, *document.filters)] == [True, False, False]
    assert begun(document, document, parsers_changed=True) == (("tail.0",), ["tail.0"])


def test_what_takes_a_restart(load: Load) -> None:
    before = load(SERVICE + JOURNAL + NULL)
    live = SERVICE + "    Grace 9\n    Log_Level debug\n    HC_Period 5\n    Hot_Reload On\n"
    assert list(obstacles(before, load(live + JOURNAL + NULL))) == []
    other = load(SERVICE + "    HTTP_Port 2021\n    Host_Root /host\n" + JOURNAL + NULL)
    assert list(obstacles(before, other)) == [
        "HTTP_Port is another one: that takes a restart.",
        "Host_Root is another one: that takes a restart.",
    ]
    probes = "[INPUT]\n    Name ebpf\n    Probe_Cache /var/cache/a\n"
    moved = load(SERVICE + probes.replace("/a", "/b") + NULL)
    assert list(obstacles(load(SERVICE + probes + NULL), moved)) == [
        "Probe_Cache is another one: the process that loads the probes was started with the old one."
    ]


def test_an_input_with_other_processors_begins_anew(tmp_path: Path) -> None:
    def load(*processors: str) -> Document:
        path = tmp_path / "main.yaml"
        text = "".join(f"          - {one}\n" for one in processors)
        under = f"      processors:\n        logs:\n{text}" if processors else ""
        path.write_text(
            f"pipeline:\n  inputs:\n    - name: mem\n{under}  outputs:\n    - {{name: 'null', match: '*'}}\n"
        )
        return load_file(str(path), {})

    modify = "{name: modify, add: a 1}"
    before = load(modify)
    assert [one.name for one in before.all_filters] == ["mem.0.modify.0"]
    assert begun(before, load(modify)) == ((), [])
    for other in (load(), load(modify, modify), load(modify.replace("1", "2"))):
        assert begun(before, other) == (("mem.0",), ["mem.0"])
    parser = load("{name: parser, key_name: log, parser: json}")
    assert begun(parser, parser, parsers_changed=True) == (("mem.0",), ["mem.0"])
