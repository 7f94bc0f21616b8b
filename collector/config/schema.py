"""Configuration keys: each declared once, with type, default, bounds and meaning.

A plugin declares a frozen dataclass whose fields are made by `key`; `load` turns
a section into it. The reference page is printed from the same declarations.

    @dataclass(frozen=True, slots=True)
    class Settings:
        path: tuple[str, ...] = key("Path", commas, help="Files to follow.")
        refresh_s: float = key("Refresh_Interval", seconds, default="60", help="...")

A default that is a text is read by the key's kind, so that it can be written as
in a configuration; any other default is the value itself. A relation between
keys is checked in `__post_init__`, which raises ValueError with a sentence; the
operator sees it with the section's place.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from collector.config.kinds import (
    Kind,
    boolean,
    choice,
    commas,
    glob,
    integer,
    pattern,
    repeated,
    repeated_list,
    seconds,
    shown,
    size_bytes,
    text,
    words,
)
from collector.errors import ConfigError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    from collector.config.sections import Entry, Section

    Settings = TypeVar("Settings", bound=DataclassInstance)

__all__ = [
    "InvalidConfiguration",
    "Key",
    "Kind",
    "Ordered",
    "boolean",
    "choice",
    "commas",
    "glob",
    "integer",
    "key",
    "keys_of",
    "load",
    "nearest",
    "ordered",
    "pattern",
    "prefixed",
    "read",
    "repeated",
    "repeated_list",
    "seconds",
    "size_bytes",
    "text",
    "words",
]


@dataclasses.dataclass(frozen=True, slots=True)
class Key:
    """One configuration key. Times are in seconds, sizes in bytes, once read."""

    name: str
    kind: Kind[Any]
    help: str
    required: bool = False
    default_text: str = ""
    other_names: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        return (self.name, *self.other_names)


@dataclasses.dataclass(frozen=True, slots=True)
class Ordered:
    """Several keys whose entries make one tuple of (key, value), in the order they were written."""

    keys: tuple[Key, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Prefixed:
    """All keys with one prefix: a tuple of (rest of the name, value), in the order they were written."""

    prefix: str
    key: Key


class InvalidConfiguration(ConfigError):
    """Everything that is wrong with a configuration; `str()` has a line for each problem."""

    def __init__(self, problems: Sequence[ConfigError]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = tuple(problems)


def key(
    name: str,
    kind: Kind[Any],
    *,
    help: str,
    default: Any = dataclasses.MISSING,
    other_names: tuple[str, ...] = (),
) -> Any:
    """A dataclass field for a configuration key; without `default` the key is required.

    Of a repeated kind the value is a tuple, and so is the default (a text is one item).
    """
    required = default is dataclasses.MISSING
    if required:
        declared = Key(name, kind, help, required=True, other_names=other_names)
        return dataclasses.field(metadata={"key": declared})
    value = kind.read(default) if isinstance(default, str) else default
    if kind.repeated and isinstance(default, str):
        value = (value,)
    shown = default if isinstance(default, str) else "" if default is None else kind.show(default)
    declared = Key(name, kind, help, default_text=shown, other_names=other_names)
    return dataclasses.field(default=value, metadata={"key": declared})


def ordered(*keys: Key) -> Any:
    """A dataclass field for keys whose order among each other matters (the rules of `modify`)."""
    return dataclasses.field(default=(), metadata={"key": Ordered(keys)})


def prefixed(prefix: str, rest: str, kind: Kind[Any], *, help: str) -> Any:
    """A dataclass field for keys that podwitness passes on; `rest` says what their names go on with."""
    declared = Prefixed(prefix, Key(prefix + rest, kind, help))
    return dataclasses.field(default=(), metadata={"key": declared})


def keys_of(settings: type[DataclassInstance]) -> tuple[Key, ...]:
    """The keys that a settings class declares, in its order."""
    found: list[Key] = []
    for field in dataclasses.fields(settings):
        declared = field.metadata["key"]
        if isinstance(declared, Ordered):
            found.extend(declared.keys)
        else:
            found.append(declared.key if isinstance(declared, Prefixed) else declared)
    return tuple(found)


def load(settings: type[Settings], section: Section, common: Iterable[Key] = ()) -> Settings:
    """The section as an instance of `settings`. Raises InvalidConfiguration with all that is wrong.

    `common` are keys that may stand in the section but belong to somebody else.
    """
    problems: list[ConfigError] = []
    loaded = read(settings, section, problems, common=common)
    if loaded is None or problems:
        raise InvalidConfiguration(problems)
    return loaded


def read(
    settings: type[Settings],
    section: Section,
    problems: list[ConfigError],
    *,
    title: str = "",
    common: Iterable[Key] = (),
    unsupported: Mapping[str, str] | None = None,
) -> Settings | None:
    """The same, appending to `problems` instead of raising; None when there were any.

    `title` is how the section is called in them, [NAME] where not given.
    `unsupported` are the names, in lower case, of keys that Fluent Bit has here, and what
    to do about them in podwitness, which has them not.
    """
    own = keys_of(settings)
    names = [name for one in (*own, *common) for name in one.names]
    declarations = [field.metadata["key"] for field in dataclasses.fields(settings)]
    prefixes = tuple(one.prefix for one in declarations if isinstance(one, Prefixed))
    before = len(problems)
    named = dataclasses.replace(
        section, entries=tuple(one for one in section.entries if not one.key.lower().startswith(prefixes))
    )
    _check_names(named, title or f"[{section.name}]", names, unsupported or {}, problems)
    values: dict[str, Any] = {}
    for field in dataclasses.fields(settings):
        declared = field.metadata["key"]
        if isinstance(declared, Ordered):
            values[field.name] = tuple(_read_ordered(declared, section, problems))
        elif isinstance(declared, Prefixed):
            values[field.name] = tuple(_read_prefixed(declared, section, problems))
        else:
            values.update(_read_field(field.name, declared, section, problems))
    if len(problems) > before:
        return None
    try:
        return settings(**values)
    except ValueError as reason:
        problems.append(ConfigError(f"{section.place}: [{section.name}] {reason}"))
        return None


def _check_names(
    section: Section,
    title: str,
    names: Sequence[str],
    unsupported: Mapping[str, str],
    problems: list[ConfigError],
) -> None:
    known = {name.lower() for name in names}
    for entry in section.entries:
        lowered = entry.key.lower()
        if lowered in known:
            continue
        if lowered in unsupported:
            problem = f"{entry.place}: {entry.key} is a key of Fluent Bit that podwitness does not have."
            problems.append(ConfigError(problem, remedy=unsupported[lowered] or "Remove the line."))
        else:
            problem = f"{entry.place}: {entry.key} is not a key of {title}."
            problems.append(ConfigError(problem, remedy=nearest(entry.key, names)))


def nearest(name: str, names: Iterable[str]) -> str:
    """A sentence with the name that was probably meant, or with all there are."""
    import difflib  # only a wrong configuration needs it

    by_lower = {one.lower(): one for one in names}
    found = difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=0.6)
    if found:
        return f"Did you mean {by_lower[found[0]]}?"
    return f"There are: {', '.join(sorted(by_lower.values(), key=str.lower))}."


def _only_one(declared: Key, section: Section, problems: list[ConfigError]) -> list[Entry]:
    """The entry of a key that has one value. In [SERVICE] the last counts: it gathers files and flags."""
    entries = list(section.all(*declared.names))
    if len(entries) > 1 and section.name != "SERVICE":
        problem = f"{entries[-1].place}: {declared.name} is set already at {entries[0].place}."
        problems.append(ConfigError(problem, remedy="Keep one of the two lines."))
    return entries[-1:]


def _read_field(field: str, declared: Key, section: Section, problems: list[ConfigError]) -> dict[str, Any]:
    if declared.kind.repeated:
        entries = list(section.all(*declared.names))
    else:
        entries = _only_one(declared, section, problems)
    if not entries:
        if declared.required:
            problem = f"{section.place}: [{section.name}] needs the key {declared.name}: {declared.help}"
            problems.append(ConfigError(problem))
        return {}
    values = [_read_value(declared, entry, problems) for entry in entries]
    if declared.kind.flattened:
        return {field: tuple(item for value in values for item in value or ())}
    return {field: tuple(values) if declared.kind.repeated else values[0]}


def _read_ordered(
    declared: Ordered, section: Section, problems: list[ConfigError]
) -> Iterable[tuple[str, Any]]:
    by_name = {one.name.lower(): one for one in declared.keys}
    for entry in section.entries:
        one = by_name.get(entry.key.lower())
        if one is not None:
            yield one.name, _read_value(one, entry, problems)


def _read_prefixed(
    declared: Prefixed, section: Section, problems: list[ConfigError]
) -> Iterable[tuple[str, Any]]:
    for entry in section.entries:
        if entry.key.lower().startswith(declared.prefix):
            yield entry.key[len(declared.prefix) :].lower(), _read_value(declared.key, entry, problems)


def _read_value(declared: Key, entry: Entry, problems: list[ConfigError]) -> Any:
    try:
        return declared.kind.read(entry.value)
    except ValueError as reason:
        problems.append(ConfigError(f"{entry.place}: {entry.key} is {shown(entry.value)}: {reason}"))
        return None
