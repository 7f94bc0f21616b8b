"""The command line: Fluent Bit's flags, and subcommands of our own."""

from __future__ import annotations

import getopt
import importlib
import os
import sys
from collections.abc import Sequence
from dataclasses import replace

from collector import plugins
from collector.config import flags
from collector.config.arguments import Arguments, read_arguments
from collector.config.document import Document, load_file, load_sections
from collector.config.schema import InvalidConfiguration
from collector.config.sections import Section
from collector.errors import OperatorError
from collector.version import version

DEFAULT_CONFIGURATION = os.path.join(os.path.dirname(__file__), "default.conf")

# Name -> module with main(arguments) -> exit code, and what it does.
SUBCOMMANDS = {
    "doctor": ("collector.doctor.command", "tell what podwitness can do on this machine, and what it lacks"),
    "rejected": ("collector.rejected_command", "show chunks that an output gave up (storage.keep.rejected)"),
    "reference": ("collector.config.reference", "print every configuration key, as docs/configuration.md"),
}

_KINDS: dict[str, plugins.PluginKind] = {"INPUT": "input", "FILTER": "filter", "OUTPUT": "output"}

HELP = """\
Usage: podwitness [-c FILE] [options]
       podwitness SUBCOMMAND

Without a configuration it shows on the terminal what this node does.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code: 0, or 1 where something has to be mended, 2 for a wrong command line."""
    try:
        code = _do(sys.argv[1:] if arguments is None else list(arguments))
        print(end="", flush=True)
    except BrokenPipeError:
        # Who reads has seen enough; what is left in the buffer must have a place to go when Python ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return code


def _do(given: Sequence[str]) -> int:
    if given and given[0] in SUBCOMMANDS:
        module = importlib.import_module(SUBCOMMANDS[given[0]][0])
        return int(module.main(given[1:]))
    try:
        asked = read_arguments(given)
    except getopt.GetoptError as error:
        print(f"podwitness: {error}. `podwitness --help` lists what there is.", file=sys.stderr)
        return 2
    if asked.help:
        print(help_text(asked.sections))
        return 0
    if asked.version:
        print(f"podwitness v{version()}")
        return 0
    return _run(asked)


def _run(asked: Arguments) -> int:
    if asked.folder:
        try:
            os.chdir(asked.folder)
        except OSError as error:
            print(f"podwitness: -w {asked.folder}: {error.strerror}.", file=sys.stderr)
            return 1
    try:
        document = load(asked)
    except InvalidConfiguration as error:
        for problem in error.problems:
            print(f"podwitness: {problem}", file=sys.stderr)
        print(f"podwitness: the configuration has {_counted(len(error.problems))}.", file=sys.stderr)
        return 1
    if asked.report:
        from collector.sosreport import report

        print(report(document))
        return 0
    if asked.dry_run:
        for notice in document.notices:
            print(f"podwitness: {notice}", file=sys.stderr)
        print("configuration test is successful")
        return 0
    # Late, so that checking a configuration needs neither the extension nor the kernel.
    from collector.run import run

    try:
        return run(document, lambda: load(asked))
    except OperatorError as error:
        print(f"podwitness: {error}", file=sys.stderr)
        return 1


def _counted(problems: int) -> str:
    return f"{problems} problem{'s' if problems != 1 else ''}"


def load(asked: Arguments) -> Document:
    """The configuration that the command line asks for. Raises InvalidConfiguration."""
    if asked.config or not asked.has_plugins:
        path = asked.config or DEFAULT_CONFIGURATION
        found = load_file(path, os.environ, extra=asked.sections, parsers_files=asked.parsers_files)
    else:
        found = load_sections(asked.sections, os.environ, parsers_files=asked.parsers_files)
    return replace(found, notices=(*asked.notices, *found.notices))


def help_text(sections: Sequence[Section] = ()) -> str:
    """Of the plugin that was named last, as in Fluent Bit, or of the flags."""
    named = [
        (_KINDS[one.name], entry.value) for one in sections if one.name in _KINDS for entry in one.all("Name")
    ]
    row = plugins.find(*named[-1]) if named else None
    if row is not None:
        from collector.config.reference import plugin_page

        return plugin_page(row).strip()
    rows = (f"  {name:<13} {what}" for name, (_, what) in SUBCOMMANDS.items())
    return HELP + "\n".join([*flags.listing(), "\nSubcommands", *rows])


if __name__ == "__main__":
    sys.exit(main())
