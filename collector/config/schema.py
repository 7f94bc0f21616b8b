"""Configuration keys: each declared once, with type, default, bounds and meaning.

A plugin declares a frozen dataclass whose fields are made by `key`; `load` turns
a section into it. The reference page is printed from the same declarations.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, Generic, TypeVar

Value = TypeVar("Value")


@dataclasses.dataclass(frozen=True, slots=True)
class Kind(Generic[Value]):
    """A type of value: how a text is read and how the type is called in the reference.

    `read` raises ValueError with a sentence that says what is expected.
    """

    name: str
    read: Callable[[str], Value]
    repeated: bool = False  # the key may be written several times; the value is a tuple


@dataclasses.dataclass(frozen=True, slots=True)
class Key:
    """One configuration key. Times are in seconds, sizes in bytes, once read."""

    name: str
    kind: Kind[Any]
    help: str
    required: bool = False
    default_text: str = ""


def key(name: str, kind: Kind[Any], *, help: str, default: Any = dataclasses.MISSING) -> Any:
    """A dataclass field for a configuration key; without `default` the key is required."""
    required = default is dataclasses.MISSING
    declared = Key(name, kind, help, required, "" if required else str(default))
    return dataclasses.field(default=default, metadata={"key": declared})
