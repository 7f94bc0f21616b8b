"""`${NAME}` in values: from @SET (or `env` in YAML), which may name a file, else from the environment."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import replace

from collector.config.kinds import shown
from collector.config.sections import Draft, Entry, Section

FILE = "file://"
MAX_FILE_CHARACTERS = 64 << 10
_VARIABLE = re.compile(r"\$\{([^}]+)\}")


def replace_variables(draft: Draft, environ: Mapping[str, str]) -> list[Section]:
    """The sections with their values final; what is not set is a problem of the draft.

    All @SET of all files count everywhere, as in Fluent Bit; HOSTNAME is there
    even where the environment lacks it.
    """
    known = {"HOSTNAME": os.uname().nodename, **environ}
    for entry in draft.variables:
        known[entry.key] = _read(entry, _replaced(entry, known, draft), draft)
    return [_finished(section, known, draft) for section in draft.sections]


def _read(entry: Entry, value: str, draft: Draft) -> str:
    """`file://PATH` is what the file holds, a secret for example, without the newline at its end."""
    if not value.startswith(FILE):
        return value
    path = os.path.join(os.path.dirname(entry.file), value.removeprefix(FILE))
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read(MAX_FILE_CHARACTERS + 1).rstrip("\r\n")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text in UTF-8"
        draft.problem(entry.place, f"{entry.key} is {shown(value)}, but that can't be read: {reason}.")
        return value
    if len(text) > MAX_FILE_CHARACTERS or any(one in text for one in "\n\r\0"):
        problem = f"{entry.key} is {shown(value)}, which is not one line of up to 64 KiB."
        draft.problem(entry.place, problem, "Name a file that holds the value and nothing else.")
        return value
    return text


def _finished(section: Section, known: Mapping[str, str], draft: Draft) -> Section:
    return replace(
        section,
        entries=tuple(_final(entry, known, draft) for entry in section.entries),
        processors=tuple(_finished(one, known, draft) for one in section.processors),
    )


def _final(entry: Entry, known: Mapping[str, str], draft: Draft) -> Entry:
    return replace(entry, value=_replaced(entry, known, draft)) if "${" in entry.value else entry


def _replaced(entry: Entry, known: Mapping[str, str], draft: Draft) -> str:
    def value(found: re.Match[str]) -> str:
        name = found[1]
        if name in known:
            return known[name]
        draft.problem(
            entry.place,
            f"{entry.key} is {shown(entry.value)}, but ${{{name}}} is not set.",
            f"Set {name} in the environment (env of the DaemonSet), or by @SET {name}=value.",
        )
        return found[0]

    return _VARIABLE.sub(value, entry.value)
