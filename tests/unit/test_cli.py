"""The command line as a process: exit codes, what goes where, and never a traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from collector.cli import DEFAULT_CONFIGURATION, SUBCOMMANDS, load
from collector.config.arguments import read_arguments
from collector.config.document import load_file
from collector.config.flags import FLAGS

ROOT = Path(__file__).parents[2]


def podwitness(*arguments: str, **environ: str) -> tuple[int, str, str]:
    command = [sys.executable, "-m", "collector", *arguments]
    done = subprocess.run(
        command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=60, check=False
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    "arguments", [["--help"], ["--version"], ["reference"], ["doctor"]], ids=lambda given: given[0]
)
def test_whoever_reads_may_stop_reading(arguments: list[str]) -> None:
    """As `head` does."""
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "collector", *arguments]
    done = subprocess.run(command, cwd=ROOT, stdout=writing, stderr=subprocess.PIPE, timeout=60, check=False)
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, b"")


def write(folder: Path, text: str) -> str:
    (folder / "main.conf").write_text(text, encoding="utf-8")
    return str(folder / "main.conf")


GOOD = "[INPUT]\n    Name systemd\n    Tag ${TAG}\n[OUTPUT]\n    Name null\n    Match *\n    Workers 2\n"


def test_a_good_configuration(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD)
    code, out, err = podwitness("-c", path, "--dry-run", TAG="x")
    assert (code, out) == (0, "configuration test is successful\n")
    assert err == f"podwitness: {path}:7: Workers has no effect: there are no worker threads to set up.\n"


def test_a_bad_configuration(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD.replace("null", "nul"))
    assert podwitness("-c", path, "--dry-run") == (
        1,
        "",
        f"podwitness: {path}:3: Tag is '${{TAG}}', but ${{TAG}} is not set. "
        "Set TAG in the environment (env of the DaemonSet), or by @SET TAG=value.\n"
        f"podwitness: {path}:5: there is no output called 'nul'. Did you mean null?\n"
        "podwitness: the configuration has 2 problems.\n",
    )


def test_flags_are_a_configuration() -> None:
    assert podwitness("-i", "systemd", "-t", "x", "-o", "null", "-f", "2", "-D")[:2] == (
        0,
        "configuration test is successful\n",
    )
    code, _, err = podwitness("-i", "systemd", "-p", "Tga=x", "-o", "null", "-D")
    assert code == 1
    assert err.startswith(
        "podwitness: argument:2: Tga is not a key of the input systemd. Did you mean Tag?\n"
    )


def test_flags_add_to_a_file(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD.replace("${TAG}", "x"))
    document = load(read_arguments(["-c", path, "-o", "stdout", "-m", "y", "-v", "-f", "9"]))
    assert [one.name for one in document.outputs] == ["null.0", "stdout.0"]
    assert (document.service.log_level, document.service.flush_s) == ("debug", 9.0)


def test_mistakes_on_the_command_line() -> None:
    assert podwitness("-x") == (
        2,
        "",
        "podwitness: option -x not recognized. `podwitness --help` lists what there is.\n",
    )


def test_help_and_version() -> None:
    code, out, err = podwitness("--help")
    assert (code, err) == (0, "")
    assert all(f"  {name}" in out for name in (*map(str, FLAGS), *SUBCOMMANDS))
    code, out, _ = podwitness("-V")
    assert code == 0
    assert out.startswith("podwitness v")


def test_help_behind_a_plugin_is_about_it() -> None:
    code, said, _ = podwitness("-i", "dummy", "-F", "Throttle", "-h")
    assert code == 0
    assert said.startswith("### throttle\n")
    assert "| `Rate` | number | `1` |" in said
    assert "| `Match_Regex` |" in said
    assert podwitness("-o", "nul", "-h")[1].startswith("Usage: podwitness")


def test_the_reference_is_printed() -> None:
    code, out, _ = podwitness("reference")
    assert code == 0
    assert out.startswith("# Configuration\n")


def test_the_default_configuration_is_valid() -> None:
    document = load_file(DEFAULT_CONFIGURATION, {})
    assert [one.plugin for one in document.inputs] == ["tail", "systemd", "ebpf"]
    assert [one.plugin for one in document.outputs] == ["terminal"]
    assert (document.service.http_listen, document.service.http_port) == ("127.0.0.1", 2020)


@pytest.mark.parametrize(
    "module", ["collector.run", "collector._native", "aiohttp", "difflib", "email", "rich", "yaml"]
)
def test_checking_a_classic_file_needs_few_libraries(module: str, tmp_path: Path) -> None:
    """They would stay in memory for as long as the daemon runs, used or not."""
    path = write(tmp_path, GOOD)
    code = (
        "import sys; from collector.cli import main\n"
        f"sys.exit(main(['-c', {path!r}, '-D']) or 10 * ({module!r} in sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env={"TAG": "x"}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
