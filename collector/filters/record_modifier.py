"""`[FILTER] Name record_modifier`: appends pairs and removes keys, as Fluent Bit's filter of that name.

Its keys are compared without case, and one that ends with `*` stands for all that begin so
(plugins/filter_record_modifier/filter_modifier.c).
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from collector.config.kinds import pair
from collector.config.schema import key, repeated, text
from collector.entries import Pairs
from collector.identity.identity import Identity
from collector.plan import EventPlan, Field, LogPlan, Op
from collector.plugin import Filter, LogSource
from collector.records import TOP_LEVEL_KEYS

if TYPE_CHECKING:
    from collector.context import Context

SUMMARY = "Appends pairs to records, removes keys, or keeps listed keys only."


@dataclass(frozen=True, slots=True)
class Settings:
    record: tuple[tuple[str, str], ...] = key(
        "Record", repeated(pair), default=(), help="A key and a text, appended whatever is there."
    )
    remove_key: tuple[str, ...] = key(
        "Remove_key", repeated(text), default=(), help="A key to remove; `*` at its end: all that begin so."
    )
    allowlist_key: tuple[str, ...] = key(
        "Allowlist_key",
        repeated(text),
        default=(),
        other_names=("Whitelist_key",),
        help="A key to keep; all that are not listed go.",
    )
    uuid_key: str = key("Uuid_key", text, default="", help="A key for a random UUID of the record.")

    def __post_init__(self) -> None:
        if self.remove_key and self.allowlist_key:
            raise ValueError("has both Remove_key and Allowlist_key. Keep one of them.")


class RecordModifier:
    """The filter of one section."""

    def __init__(self, settings: Settings, matches: Callable[[str], bool]) -> None:
        self.matches = matches
        self._settings = settings
        self._listed = settings.remove_key or settings.allowlist_key
        self._removes_listed = bool(settings.remove_key)

    @property
    def _is_constant(self) -> bool:
        """A plan removes keys by their exact names only."""
        return not self._listed and not self._settings.uuid_key

    def fold_log(self, plan: LogPlan, source: LogSource) -> LogPlan | None:
        if not self._is_constant:
            return None
        return plan.then(*(Field(Op.APPEND, *pair) for pair in self._settings.record))

    def fold_event(self, plan: EventPlan, tag: str, identity: Identity) -> EventPlan | None:
        """Events take each key once; one that is there twice is left to `apply`."""
        names = [name for name, _ in self._settings.record]
        taken = TOP_LEVEL_KEYS | {step.key for step in plan.steps}
        if not self._is_constant or taken & set(names) or len(set(names)) < len(names):
            return None
        return plan.then(*(Field(Op.APPEND, *pair) for pair in self._settings.record))

    def apply(self, tag: str, record: Pairs, identity: Identity | None) -> Pairs | None:
        had_any = bool(record)
        if self._listed:
            record = [one for one in record if self._is_listed(one[0]) != self._removes_listed]
        more: list[tuple[str, Any]] = list(self._settings.record)
        if self._settings.uuid_key:
            more.append((self._settings.uuid_key, str(uuid.uuid4())))
        made = [*record, *more]
        # As in Fluent Bit: a record that nothing is left of is dropped.
        return made if made or not had_any else None

    def _is_listed(self, name: Any) -> bool:
        if isinstance(name, bytes):
            name = name.decode("utf-8", "surrogateescape")
        return isinstance(name, str) and any(_stands_for(one.lower(), name.lower()) for one in self._listed)


def _stands_for(listed: str, name: str) -> bool:
    return name.startswith(listed[:-1]) if listed.endswith("*") else name == listed


def make(settings: Settings, context: Context) -> Filter:
    return RecordModifier(settings, context.plugin.matches)
