"""What pods ask of the collector by annotations: `fluentbit.io/parser` and `fluentbit.io/exclude`.

As Fluent Bit's kube_property.c: `fluentbit.io/parser[_stdout|_stderr][-<container>]`,
the same with `exclude`. What names the container overrides what does not; the
other way round never.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

STREAMS = ("stdout", "stderr")
_PREFIX = "fluentbit.io/"
_ASKED = re.compile(r"(?P<what>parser|exclude)(?:_(?P<stream>stdout|stderr))?(?:-(?P<container>.+))?")
_TRUE = ("true", "on", "yes")


@dataclass(frozen=True, slots=True)
class Suggestions:
    """By stream: the parser's name, and whether its records are left out."""

    parsers: Mapping[str, str] = field(default_factory=dict)
    excluded: Mapping[str, bool] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.parsers) or any(self.excluded.values())

    def excludes(self, stream: str) -> bool:
        """A record of no known stream is left out if both are."""
        if stream in STREAMS:
            return self.excluded.get(stream, False)
        return all(self.excluded.get(one, False) for one in STREAMS)

    def parser(self, stream: str) -> str:
        """ "" for none; of a record of no known stream if both have the same."""
        if stream in STREAMS:
            return self.parsers.get(stream, "")
        found = {self.parsers.get(one, "") for one in STREAMS}
        return found.pop() if len(found) == 1 else ""


NOTHING = Suggestions()


@dataclass(slots=True)
class _Choice:
    """What was chosen for a stream; `is_own`: by naming the container."""

    value: str
    is_own: bool


def suggestions(
    annotations: Mapping[str, Any] | None, container: str, allowed: Collection[str]
) -> tuple[Suggestions, list[str]]:
    """Those of one container, and sentences about annotations that have no effect.

    `allowed`: which of `parser` and `exclude` the configuration lets pods ask for.
    """
    chosen: dict[tuple[str, str], _Choice] = {}
    ignored: list[str] = []
    for key, value in (annotations or {}).items():
        if not key.startswith(_PREFIX):
            continue
        asked = _ASKED.fullmatch(key[len(_PREFIX) :])
        if asked is None:
            ignored.append(f"the annotation {key!r} is not known")
        elif asked["what"] not in allowed:
            name = "K8S-Logging.Parser" if asked["what"] == "parser" else "K8S-Logging.Exclude"
            ignored.append(f"the annotation {key!r} has no effect without {name} On")
        elif asked["container"] in (None, container):
            _choose(chosen, asked, str(value))
    parsers = {stream: one.value for (what, stream), one in chosen.items() if what == "parser"}
    excluded = {stream: _is_true(one.value) for (what, stream), one in chosen.items() if what == "exclude"}
    return Suggestions(parsers, excluded), ignored


def _choose(chosen: dict[tuple[str, str], _Choice], asked: re.Match[str], value: str) -> None:
    is_own = asked["container"] is not None
    for stream in (asked["stream"],) if asked["stream"] else STREAMS:
        known = chosen.get((asked["what"], stream))
        if known is None or is_own:
            chosen[asked["what"], stream] = _Choice(value, is_own)


def _is_true(written: str) -> bool:
    # flb_utils_bool compares the letters it knows, in any case.
    return written.lower() in _TRUE


def with_namespace(own: Suggestions, of_namespace: Mapping[str, Any] | None) -> Suggestions:
    """The pod's, with the namespace's exclusion where the pod has said nothing."""
    found, _ = suggestions(of_namespace, "", ("exclude",))
    return Suggestions(own.parsers, {**found.excluded, **own.excluded})
