"""`[FILTER] Name nest`: gathers pairs in a map, or lifts those of a map, as Fluent Bit's filter does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from collector.accessor import names
from collector.config.schema import choice, key, repeated, text
from collector.entries import Pairs
from collector.filters.sees_records import SeesRecords
from collector.identity.identity import Identity
from collector.plugin import Filter

if TYPE_CHECKING:
    from collector.context import Context

SUMMARY = "Gathers pairs in a map, or lifts the pairs of a map into the record."


@dataclass(frozen=True, slots=True)
class Settings:
    operation: str = key("Operation", choice("nest", "lift"), help="Which of the two.")
    wildcard: tuple[str, ...] = key(
        "Wildcard",
        repeated(text),
        default=(),
        help="For nest: which keys; `*` at its end: all that begin so.",
    )
    nest_under: str = key("Nest_under", text, default="", help="For nest: the key of the map.")
    nested_under: str = key("Nested_under", text, default="", help="For lift: the key of the map.")
    add_prefix: str = key("Add_prefix", text, default="", help="Put before the names of the pairs concerned.")
    remove_prefix: str = key("Remove_prefix", text, default="", help="Taken off the names of these pairs.")

    def __post_init__(self) -> None:
        if self.add_prefix and self.remove_prefix:
            raise ValueError("has both Add_prefix and Remove_prefix. Keep one of them.")
        if self.operation == "nest" and not (self.nest_under and self.wildcard):
            raise ValueError("has Operation nest, which needs Wildcard and Nest_under.")
        if self.operation == "lift" and not self.nested_under:
            raise ValueError("has Operation lift, which needs Nested_under.")


class Nest(SeesRecords):
    """The filter of one section."""

    def __init__(self, settings: Settings, matches: Callable[[str], bool]) -> None:
        self.matches = matches
        self._settings = settings
        self._change = self._nest if settings.operation == "nest" else self._lift

    def apply(self, tag: str, record: Pairs, identity: Identity | None) -> Pairs | None:
        return self._change(record)

    def _nest(self, record: Pairs) -> Pairs:
        concerned = [one for one in record if self._is_concerned(one[0])]
        if not concerned:
            return record
        others = [one for one in record if not self._is_concerned(one[0])]
        nested = {self._renamed(name): value for name, value in concerned}
        return [*others, (self._settings.nest_under, nested)]

    def _lift(self, record: Pairs) -> Pairs:
        """A value that is no map stays where it is."""
        under = self._settings.nested_under
        maps = [value for name, value in record if names(name, under) and isinstance(value, dict)]
        if not maps:
            return record
        others = [one for one in record if not (names(one[0], under) and isinstance(one[1], dict))]
        return [*others, *((self._renamed(name), value) for one in maps for name, value in one.items())]

    def _is_concerned(self, name: Any) -> bool:
        if isinstance(name, bytes):
            name = name.decode("utf-8", "surrogateescape")
        if not isinstance(name, str):
            return False
        return any(
            name.startswith(one[:-1]) if one.endswith("*") else name == one for one in self._settings.wildcard
        )

    def _renamed(self, name: Any) -> Any:
        if not isinstance(name, str):
            return name
        if self._settings.add_prefix:
            return self._settings.add_prefix + name
        return name.removeprefix(self._settings.remove_prefix)


def make(settings: Settings, context: Context) -> Filter:
    return Nest(settings, context.plugin.matches)
