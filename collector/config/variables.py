"""`${NAME}` in values: from @SET (or `env` in YAML), else from the environment."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import replace

from collector.config.kinds import shown
from collector.config.sections import Draft, Entry, Section

_VARIABLE = re.compile(r"\$\{([^}]+)\}")


def replace_variables(draft: Draft, environ: Mapping[str, str]) -> list[Section]:
    """The sections with their values final; what is not set is a problem of the draft.

    All @SET of all files count everywhere, as in Fluent Bit; HOSTNAME is there
    even where the environment lacks it.
    """
    known = {"HOSTNAME": os.uname().nodename, **environ}
    for entry in draft.variables:
        known[entry.key] = _replaced(entry, known, draft)
    return [_finished(section, known, draft) for section in draft.sections]


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
