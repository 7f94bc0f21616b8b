"""The subcommand: `podwitness doctor [--json] [--host-root DIR]`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from collector.doctor.attempt import attempt
from collector.doctor.checks import examine
from collector.doctor.facts import gather
from collector.doctor.report import as_json, as_text, exit_code

DESCRIPTION = """\
Tells what this kernel, these privileges and these mounts allow podwitness to do. Every probe is attached for
a moment, so run it where podwitness is to run, and as it is to run. Exit code 0: all works; 1: something in a
lesser way; 2: something that podwitness needs does not."""


def main(arguments: Sequence[str] = ()) -> int:
    """Prints the report; the exit code."""
    asked = _parser().parse_args(list(arguments))
    rows = examine(gather(asked.host_root), attempt())
    if asked.json:
        print(as_json(rows))
    else:
        coloured = sys.stdout.isatty() and "NO_COLOR" not in os.environ
        print(as_text(rows, coloured=coloured), end="")
    return exit_code(rows)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("podwitness doctor", description=DESCRIPTION)
    parser.add_argument("--json", action="store_true", help="one JSON object instead of text")
    parser.add_argument("--host-root", default="/", metavar="DIR", help="where the host's root is mounted")
    return parser
