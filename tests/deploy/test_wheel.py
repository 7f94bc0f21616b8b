"""The wheel that the image installs, built from a clean copy of the tree as in the first stage."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.deploy.manifests import ROOT
from tests.deploy.test_dockerfile import own_sources


@pytest.fixture(scope="module")
def contents(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    tree = tmp_path_factory.mktemp("tree")
    for source in own_sources():
        _copy(ROOT / source, tree / source)
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "-q",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        "wheel",
        ".",
    ]
    done = subprocess.run(command, cwd=tree, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (wheel,) = (tree / "wheel").glob("podwitness-*.whl")
    return zipfile.ZipFile(wheel).namelist()


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", "*.so", "_native.c"))
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, target)


def test_has_the_extension(contents: list[str]) -> None:
    assert [name for name in contents if name.startswith("collector/_native") and name.endswith(".so")]


@pytest.mark.parametrize("room", ["collector", "probes"])
def test_has_every_module(contents: list[str], room: str) -> None:
    ours = {str(path.relative_to(ROOT)) for path in (ROOT / room).rglob("*.py")}
    assert ours - set(contents) == set()


def test_has_the_probes_that_are_compiled_on_the_node(contents: list[str]) -> None:
    ours = {
        str(path.relative_to(ROOT)) for path in (ROOT / "probes").iterdir() if path.suffix in {".c", ".h"}
    }
    assert ours - set(contents) == set()


def test_has_nothing_else(contents: list[str]) -> None:
    assert {name.split("/")[0].split("-")[0] for name in contents} == {"collector", "probes", "podwitness"}
    assert [name for name in contents if name.startswith("ext/") or "/test" in name] == []


def test_has_the_command(contents: list[str]) -> None:
    assert [name for name in contents if name.endswith(".dist-info/entry_points.txt")]
