"""[UPSTREAM] and [NODE]: from a file in both formats, from the main file, and what is wrong with them."""

from __future__ import annotations

from pathlib import Path

import pytest

from collector.config import upstreams
from collector.config.document import Document, load_file
from collector.config.schema import InvalidConfiguration

CLASSIC = """\
[UPSTREAM]
    name       forward-balancing

[NODE]
    name       node-1
    host       127.0.0.1
    port       43000

[NODE]
    name       node-2
    host       127.0.0.2
    port       44000
    weight     3
    tls        on
    tls.verify off
    shared_key secret
"""
YAML = """\
upstream_servers:
  - name: forward-balancing
    nodes:
      - name: node-1
        host: 127.0.0.1
        port: 43000
      - name: node-2
        host: 127.0.0.2
        port: 44000
        weight: 3
        tls: on
        tls.verify: off
        shared_key: secret
"""
MAIN = """\
[INPUT]
    Name systemd
[OUTPUT]
    Name forward
    Match *
    Upstream {upstream}
    Host ignored.example
    Require_ack_response On
    Shared_Key common
    Retry_Limit 7
"""


def load(folder: Path, upstream: str, more: str = "") -> Document:
    path = folder / "main.conf"
    path.write_text(MAIN.format(upstream=upstream) + more)
    return load_file(str(path), {})


@pytest.mark.parametrize(("name", "text"), [("up.conf", CLASSIC), ("up.yaml", YAML)])
def test_nodes_have_the_keys_of_their_output_and_their_own(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    (output,) = load(tmp_path, name).outputs
    first, second = output.nodes
    assert (first.name, first.weight, first.settings.host, first.settings.port) == (
        "node-1",
        1,
        "127.0.0.1",
        43000,
    )
    assert (first.settings.shared_key, first.settings.tls, first.settings.require_ack_response) == (
        "common", False, True,
    )  # fmt: skip
    assert (second.weight, second.settings.tls, second.settings.verify) == (3, True, False)
    assert second.settings.shared_key == "secret"
    assert output.retry_limit == 7


def test_an_upstream_of_the_main_file_is_named(tmp_path: Path) -> None:
    (output,) = load(tmp_path, "forward-balancing", CLASSIC).outputs
    assert [node.name for node in output.nodes] == ["node-1", "node-2"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[UPSTREAM]\n    Name a\n", "has no \\[NODE\\]"),
        ("[NODE]\n    Name a\n    Host b\n", "\\[NODE\\] belongs to no \\[UPSTREAM\\]"),
        (
            CLASSIC.replace("host       127.0.0.2", "hast       x"),
            "up.conf:11: hast is not a key of a \\[NODE\\]",
        ),
        (CLASSIC.replace("weight     3", "weight     0"), "up.conf:13: weight is '0'"),
        (CLASSIC.replace("    name       node-1\n", ""), "needs the key Name"),
        (CLASSIC + "[UPSTREAM]\n    Name other\n", "has 2 \\[UPSTREAM\\], not one"),
        (CLASSIC.replace("tls.verify off", "tls.key_file x"), "tls.key_file without tls.crt_file"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(tmp_path: Path, text: str, problem: str) -> None:
    (tmp_path / "up.conf").write_text(text)
    with pytest.raises(InvalidConfiguration, match=problem):
        load(tmp_path, "up.conf")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InvalidConfiguration, match=r"none\.conf can't be read"):
        load(tmp_path, "none.conf")


def test_groups() -> None:
    assert upstreams.groups([]) == {}
