"""One row of the tables of fields, which collector/records.py brings together."""

from __future__ import annotations

from dataclasses import dataclass

ECS = "ECS"  # Elastic Common Schema 8.17, https://www.elastic.co/docs/reference/ecs
FLUENT_BIT = "Fluent Bit"  # the map of its filter `kubernetes`
OWN = "podwitness"


@dataclass(frozen=True, slots=True)
class RecordField:
    """`kinds` are values of `event.action`; `always`: records of these kinds never lack it."""

    name: str
    type: str
    kinds: tuple[str, ...]
    meaning: str
    origin: str = ECS
    always: bool = False


def always(name: str, type: str, kinds: tuple[str, ...], meaning: str, origin: str = ECS) -> RecordField:
    return RecordField(name, type, kinds, meaning, origin, always=True)
