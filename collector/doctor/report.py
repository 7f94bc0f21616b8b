"""What the doctor found, for a person or for a machine."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence

from collector.doctor.checks import Row, State

COLOURS: dict[State, str] = {"works": "\x1b[32m", "lesser": "\x1b[33m", "fails": "\x1b[31m", "off": "\x1b[2m"}
BOLD, PLAIN = "\x1b[1m", "\x1b[0m"


def exit_code(rows: Sequence[Row]) -> int:
    """0: all works. 1: something works in a lesser way only, or not at all but is not needed. 2: podwitness
    can't do what it is for."""
    if any(row.finding.state == "fails" and row.is_needed for row in rows):
        return 2
    return int(any(row.finding.state in ("lesser", "fails") for row in rows))


def as_json(rows: Sequence[Row]) -> str:
    """One object; `checks` in the order of the text."""
    checks = [
        {"group": row.group, "check": row.check, **row.finding._asdict(), "needed": row.is_needed}
        for row in rows
    ]
    return json.dumps({"exit_code": exit_code(rows), "checks": checks}, indent=1)


def as_text(rows: Sequence[Row], *, coloured: bool) -> str:
    """A line for each check, and one more with what to do where it is not well."""
    return "\n".join((*_lines(rows, coloured), "", summary(rows))) + "\n"


def _lines(rows: Sequence[Row], coloured: bool) -> Iterator[str]:
    width = max((len(row.check) for row in rows), default=0)
    group = ""
    for row in rows:
        if row.group != group:
            group = row.group
            yield _painted(group, BOLD, coloured)
        state = _painted(f"{row.finding.state:<6}", COLOURS[row.finding.state], coloured)
        yield f"  {state}  {row.check:<{width}}  {printable(row.finding.reason)}".rstrip()
        if row.finding.remedy:
            yield f"  {'':6}  {'':<{width}}  -> {printable(row.finding.remedy)}"


def summary(rows: Sequence[Row]) -> str:
    counts = Counter(row.finding.state for row in rows)
    blind = [row.check for row in rows if row.finding.state == "fails" and row.is_needed]
    told = f"{counts['works']} work, {counts['lesser']} in a lesser way, {counts['fails']} not."
    if counts["off"]:
        told += f" {counts['off']} off."
    if blind:
        return f"{told} podwitness needs: {', '.join(blind)}."
    is_well = len(rows) == counts["works"] + counts["off"]
    return f"{told} {'All is well.' if is_well else 'podwitness can do its work.'}"


def printable(text: str) -> str:
    """Reasons quote the kernel and paths: nothing that a terminal would obey, and one line."""
    return "".join(one if one.isprintable() else f"\\x{ord(one):02x}" for one in text)


def _painted(text: str, colour: str, coloured: bool) -> str:
    return f"{colour}{text}{PLAIN}" if coloured else text
