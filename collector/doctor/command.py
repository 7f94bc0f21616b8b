"""The subcommand: `podwitness doctor [-c FILE] [--json] [--host-root DIR]`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from collector.cli import load
from collector.config.arguments import Arguments
from collector.config.document import Document
from collector.config.schema import InvalidConfiguration
from collector.doctor.attempt import attempt
from collector.doctor.checks import examine
from collector.doctor.facts import gather
from collector.doctor.report import as_json, as_text, exit_code
from collector.inputs.ebpf import Settings
from probes.choice import hooks_for

DESCRIPTION = """\
Tells what this kernel, these privileges and these mounts allow podwitness to do. Every probe is attached for
a moment, so run it where podwitness is to run, and as it is to run. Exit code 0: all works; 1: something in a
lesser way; 2: something that podwitness needs does not. What `Trace` of FILE (of the
default without one) leaves out is not needed: it is off where it would not work."""


def main(arguments: Sequence[str] = ()) -> int:
    """Prints the report; the exit code."""
    asked = _parser().parse_args(list(arguments))
    try:
        document = load(Arguments(config=asked.config))
    except InvalidConfiguration as error:
        for problem in error.problems:
            print(f"podwitness: {problem}", file=sys.stderr)
        return 2
    rows = examine(gather(asked.host_root), attempt(), traced_hooks(document))
    if asked.json:
        print(as_json(rows))
    else:
        coloured = sys.stdout.isatty() and "NO_COLOR" not in os.environ
        print(as_text(rows, coloured=coloured), end="")
    return exit_code(rows)


def traced_hooks(document: Document) -> frozenset[str]:
    """By tracepoint: of all `ebpf` inputs; with one of them, what an input attaches unasked too."""
    asked = [entry.settings for entry in document.inputs if isinstance(entry.settings, Settings)]
    wanted = [hook for settings in asked for hook in hooks_for(settings.watched_subjects, settings.off)]
    return frozenset(hook.tracepoint for hook in wanted)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("podwitness doctor", description=DESCRIPTION)
    parser.add_argument(
        "-c", "--config", default="", metavar="FILE", help="the configuration that it is to run with"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object instead of text")
    parser.add_argument("--host-root", default="/", metavar="DIR", help="where the host's root is mounted")
    return parser
