"""`[FILTER] Name rewrite_tag`: sends records on under another tag, as Fluent Bit's filter of that name.

A record with a new tag begins at the first filter again; this filter does not see
it a second time, nor does any that it came through by another tag, so that two
such filters can't send a record in circles. The new records and what is left of the
old ones are one step of their file's position: it moves when all are delivered.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from collector.accessor import Accessor, read
from collector.config.kinds import Kind, boolean, split_quoted
from collector.config.onigmo import Pattern, compile_onigmo
from collector.config.schema import choice, key, repeated, size_bytes, text
from collector.filters.sees_records import SeesRecords
from collector.identity.identity import Identity
from collector.plugin import BatchFilter, Emit
from collector.record import Record

if TYPE_CHECKING:
    from collector.context import Context

SUMMARY = "Sends records on under another tag, by what a key holds."

# `$TAG`, `$TAG[1]`, `$0` to `$9`, or a record's value. As in Fluent Bit `$TAG_x` is the tag and `_x`.
_VARIABLE = re.compile(
    r"\$(?:TAG(?:\[(?P<part>[0-9]+)\])?|(?P<group>[0-9])"
    r"|(?P<value>[A-Za-z_][A-Za-z0-9_\-/]*(?:\['[^']*'\]|\[[0-9]+\])*))"
)
# A tag is a name: what a container wrote may not make it endless, nor put control characters into it.
MAX_TAG_BYTES = 1024


class Rule(NamedTuple):
    key: Accessor
    pattern: Pattern
    tag: str
    is_kept: bool


def read_rule(written: str) -> Rule:
    """`$KEY REGEX NEW_TAG KEEP`. Raises ValueError."""
    parts = split_quoted(written)
    if len(parts) != 4:
        raise ValueError("expected four parts: $key, a regular expression, the new tag, and whether to keep.")
    name, pattern, tag, keep = parts
    if not name.startswith("$"):
        raise ValueError(f"expected the key to begin with a dollar sign: ${name}.")
    return Rule(read(name), compile_onigmo(pattern), tag, boolean.read(keep))


@dataclass(frozen=True, slots=True)
class Settings:
    rule: tuple[Rule, ...] = key(
        "Rule",
        repeated(Kind("$key regex new_tag keep", read_rule)),
        help="`$log ^ERROR errors.$TAG[1] false`: the first that matches counts.",
    )
    emitter_name: str = key("Emitter_Name", text, default="", help="Accepted; records keep their input.")
    emitter_storage_type: str = key(
        "Emitter_Storage.type",
        choice("memory", "filesystem"),
        default="memory",
        help="Accepted; new records are kept as those that they come from.",
    )
    emitter_mem_buf_limit_bytes: int = key(
        "Emitter_Mem_Buf_Limit", size_bytes, default="10M", help="Accepted; the input's own bound counts."
    )


class RewriteTag(SeesRecords):
    """The filter of one section."""

    def __init__(self, settings: Settings, matches: Callable[[str], bool]) -> None:
        self.matches = matches
        self._rules = settings.rule

    def apply_batch(
        self, tag: str, records: Sequence[Record], identity: Identity | None, emit: Emit
    ) -> list[Record]:
        return [record for record in records if self._stays(tag, record, emit)]

    def _stays(self, tag: str, record: Record, emit: Emit) -> bool:
        for rule in self._rules:
            content = _matched(rule.key.value(record.pairs))
            groups = None if content is None else rule.pattern.groups(content)
            if groups is not None:
                emit(new_tag(rule.tag, tag, groups, record), record)
                return rule.is_kept
        return True


def _matched(value: Any) -> bytes | None:
    """Only texts are matched, as in Fluent Bit: a rule on a number never holds."""
    return _content(value) if isinstance(value, str | bytes) else None


def _content(value: Any) -> bytes | None:
    if isinstance(value, bool):
        return b"true" if value else b"false"
    if isinstance(value, int):
        return str(value).encode()
    if isinstance(value, float):
        return f"{value:f}".encode()
    if value is None:
        return b"null"
    if isinstance(value, str):
        return value.encode("utf-8", "surrogateescape")
    return value if isinstance(value, bytes) else None


def new_tag(template: str, tag: str, groups: Sequence[bytes | None], record: Record) -> str:
    """The template filled in; what there is none of leaves nothing behind."""

    def fill(found: re.Match[str]) -> str:
        if found["group"] is not None:
            number = int(found["group"])
            return _text(groups[number]) if number < len(groups) else ""
        if found["value"] is not None:
            return _text(_content(_value(found["value"], record)))
        if found["part"] is not None:
            parts = tag.split(".")
            return parts[int(found["part"])] if int(found["part"]) < len(parts) else ""
        return tag

    return clean_tag(_VARIABLE.sub(fill, template))


def _value(name: str, record: Record) -> Any:
    """`accessor.ABSENT` where there is none."""
    return read(f"${name}").value(record.pairs)


def _text(content: bytes | None) -> str:
    return "" if content is None else content.decode("utf-8", "replace")


def clean_tag(tag: str) -> str:
    """A tag that is printable and of bounded length, whatever it was made of."""
    printable = "".join(letter if letter.isprintable() else "_" for letter in tag)
    return printable.encode()[:MAX_TAG_BYTES].decode(errors="ignore")


def make(settings: Settings, context: Context) -> BatchFilter:
    return RewriteTag(settings, context.plugin.matches)
