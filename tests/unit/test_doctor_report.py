"""collector.doctor.report: lines, JSON and exit codes."""

from __future__ import annotations

import json

from collector.doctor.checks import Finding, Row
from collector.doctor.report import as_json, as_text, exit_code

FINE = Row("kernel", "version", Finding("works", "Linux 6.1"), is_needed=True)
LESSER = Row("kernel", "compiler", Finding("lesser", "slow", "Faster."), is_needed=True)
OPTIONAL = Row("logs", "journal", Finding("fails", "none\x1b[2J\nat all", "Mount it."), is_needed=False)
OFF = Row("probes", "Trace flow", Finding("off", "not asked for", "Grant it."), is_needed=False)
BLIND = Row("probes", "BPF", Finding("fails", "not held", "Grant it."), is_needed=True)


def test_exit_codes() -> None:
    assert exit_code([FINE]) == 0
    assert exit_code([FINE, OFF]) == 0
    assert exit_code([FINE, LESSER]) == 1
    assert exit_code([FINE, OPTIONAL]) == 1
    assert exit_code([FINE, LESSER, BLIND]) == 2


def test_text() -> None:
    assert as_text([FINE, LESSER, OPTIONAL, BLIND], coloured=False) == (
        "kernel\n"
        "  works   version   Linux 6.1\n"
        "  lesser  compiler  slow\n"
        "                    -> Faster.\n"
        "logs\n"
        "  fails   journal   none\\x1b[2J\\x0aat all\n"
        "                    -> Mount it.\n"
        "probes\n"
        "  fails   BPF       not held\n"
        "                    -> Grant it.\n"
        "\n"
        "1 work, 1 in a lesser way, 2 not. podwitness needs: BPF.\n"
    )


def test_colours_change_nothing_else() -> None:
    coloured = as_text([FINE, LESSER, BLIND], coloured=True)
    assert "\x1b[32mworks \x1b[0m" in coloured
    for escape in ("\x1b[0m", "\x1b[1m", "\x1b[31m", "\x1b[32m", "\x1b[33m"):
        coloured = coloured.replace(escape, "")
    assert coloured == as_text([FINE, LESSER, BLIND], coloured=False)


def test_summaries_without_trouble() -> None:
    assert as_text([FINE], coloured=False).endswith("1 work, 0 in a lesser way, 0 not. All is well.\n")
    assert as_text([FINE, OFF], coloured=False).endswith(
        "1 work, 0 in a lesser way, 0 not. 1 off. All is well.\n"
    )
    assert as_text([FINE, LESSER], coloured=False).endswith("podwitness can do its work.\n")


def test_json() -> None:
    found = json.loads(as_json([FINE, BLIND]))
    assert found == {
        "exit_code": 2,
        "checks": [
            {
                "group": "kernel",
                "check": "version",
                "state": "works",
                "reason": "Linux 6.1",
                "remedy": "",
                "needed": True,
            },
            {
                "group": "probes",
                "check": "BPF",
                "state": "fails",
                "reason": "not held",
                "remedy": "Grant it.",
                "needed": True,
            },
        ],
    }
