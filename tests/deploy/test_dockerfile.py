"""What can be known of deploy/Dockerfile without a container builder: packages, sources, stages."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.deploy.manifests import ROOT, container

COMPILERS = re.compile(r"^(gcc|g\+\+|clang|make|build-essential|libc6-dev|python3-dev|.*-pip)$")


class Instruction(NamedTuple):
    name: str
    rest: str


def instructions() -> list[Instruction]:
    text = re.sub(r"^#.*\n", "", (ROOT / "deploy/Dockerfile").read_text(), flags=re.MULTILINE)
    lines = re.sub(r"\\\n", " ", text).splitlines()
    return [Instruction(*line.split(maxsplit=1)) for line in lines if line.strip()]


def stages() -> list[list[Instruction]]:
    made: list[list[Instruction]] = []
    for instruction in instructions():
        if instruction.name == "FROM":
            made.append([])
        if made:
            made[-1].append(instruction)
    return made


def packages(stage: list[Instruction]) -> list[str]:
    installs = [re.search(r"apt-get install (.*?) &&", i.rest) for i in stage if i.name == "RUN"]
    return [word for found in installs if found for word in found[1].split() if not word.startswith("-")]


def own_sources() -> list[str]:
    copies = [i.rest.split() for i in instructions() if i.name == "COPY" and not i.rest.startswith("--from=")]
    return [source.rstrip("/") for words in copies for source in words[:-1]]


@pytest.mark.parametrize("source", own_sources())
def test_source_exists_and_reaches_the_builder(source: str) -> None:
    assert (ROOT / source).exists()
    lets_through = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line[:1] == "!"]
    assert any(fnmatch(source, pattern) for pattern in lets_through)


@pytest.mark.parametrize("package", sorted({name for stage in stages() for name in packages(stage)}))
def test_package_is_one_that_make_installs_here(package: str) -> None:
    """The Makefile names the same packages, so that what runs here is what runs in the image."""
    done = subprocess.run(
        ["dpkg-query", "-W", "-f=${Status}", package], capture_output=True, text=True, check=True
    )
    assert done.stdout == "install ok installed"


def test_last_stage_has_no_compiler_of_ours() -> None:
    assert [name for name in packages(stages()[-1]) if COMPILERS.match(name)] == []


def test_last_stage_takes_only_what_the_first_made() -> None:
    taken = [i.rest.split() for i in stages()[-1] if i.name == "COPY" and i.rest.startswith("--from=")]
    made = " ".join(i.rest for i in stages()[0])
    assert [words[0] for words in taken] == ["--from=build"]
    assert all(words[1] in made for words in taken)


def test_what_runs_was_compiled_whatever_times_its_files_have(tmp_path: Path) -> None:
    runs = [i.rest for i in stages()[0] if i.name == "RUN"]
    (command,) = [rest for rest in runs if "compileall" in rest]
    assert runs.index(command) > max(n for n, rest in enumerate(runs) if " install " in rest)
    here = command.replace("/opt/podwitness/bin/python3", sys.executable).replace(
        "/opt/podwitness/lib", str(tmp_path)
    )
    source = tmp_path / "witnessed.py"
    source.write_text("print('compiled')")
    subprocess.run(here, shell=True, check=True)
    source.write_text("print('read again')")
    done = subprocess.run(
        [sys.executable, "-c", "import witnessed"],
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "compiled\n"


def test_debian_is_the_one_that_the_readme_tells() -> None:
    text = (ROOT / "deploy/Dockerfile").read_text()
    assert re.findall(r"^ARG DEBIAN=(.*)$", text, flags=re.MULTILINE) == ["trixie"]
    assert all("${DEBIAN}" in line for line in text.splitlines() if line.startswith("FROM "))
    assert "image is made of Debian 13 unless told otherwise" in (ROOT / "deploy/README.md").read_text()


def test_start_is_what_the_daemonset_expects() -> None:
    last = {i.name: i.rest for i in stages()[-1]}
    assert last["ENTRYPOINT"] == '["/opt/podwitness/bin/podwitness"]'
    config = container()["args"][-1]
    assert config in last["CMD"]
    assert any(i.name == "COPY" and i.rest.endswith(config) for i in stages()[-1])


def test_version_of_the_image_is_that_of_the_package() -> None:
    version = re.findall(r'version="([^"]+)"', Path(ROOT / "setup.py").read_text())[0]
    assert container()["image"] == f"podwitness:{version}"
