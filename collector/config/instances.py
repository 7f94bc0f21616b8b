"""What every input, filter or output of a configuration has, whatever its plugin."""

from __future__ import annotations

import re
from dataclasses import dataclass

from collector.config.kinds import Kind
from collector.config.onigmo import Pattern
from collector.config.schema import glob, key, pattern, size_bytes, text
from collector.config.service import level_kind, storage_type_kind


def _read_retry_limit(written: str) -> int | None:
    lowered = written.lower()
    if lowered in ("no_limits", "false", "off"):
        return None
    if lowered == "no_retries":
        return 0
    if not re.fullmatch(r"[0-9]{1,9}", written) or int(written) == 0:
        raise ValueError("expected a whole number, 1 or more, or no_limits or no_retries.")
    return int(written)


retry_limit_kind: Kind[int | None] = Kind("number, no_limits or no_retries", _read_retry_limit)


@dataclass(frozen=True, slots=True)
class Common:
    """What all three kinds have."""

    name: str = key("Name", text, help="The plugin.")
    alias: str = key("Alias", text, default="", help="A name of your own for logs and metrics.")
    log_level: str | None = key(
        "Log_Level",
        level_kind,
        default=None,
        help="What this plugin logs; the service's where unset.",
    )


@dataclass(frozen=True, slots=True)
class InputCommon(Common):
    tag: str = key(
        "Tag", text, default="", help="How records are called for Match; the plugin's name where unset."
    )
    mem_buf_limit_bytes: int = key(
        "Mem_Buf_Limit",
        size_bytes,
        default="0",
        help="Most bytes of this input in flight; 0: only the common bound.",
    )
    storage_type: str = key(
        "storage.type",
        storage_type_kind,
        default="filesystem",
        help="Whether what could not be read again may go to the spool, where there is one (`storage.path`). "
        "Files that are still there are not copied. `memrb` is taken for memory.",
    )


@dataclass(frozen=True, slots=True)
class ProcessorCommon(Common):
    def matches(self, tag: str) -> bool:
        """A processor gets all that its input makes, or its output is given."""
        return True


@dataclass(frozen=True, slots=True)
class FilterCommon(Common):
    match: re.Pattern[str] | None = key(  # noqa: RUF009 - a field, not a shared default
        "Match", glob, default=None, help="Which tags; `*` is any text."
    )
    match_regex: Pattern | None = key(  # noqa: RUF009
        "Match_Regex", pattern, default=None, help="Which tags, as a regular expression."
    )

    def __post_init__(self) -> None:
        if self.match is None and self.match_regex is None:
            raise ValueError("has no Match, so no record would reach it. Add `Match *` for all records.")

    def matches(self, tag: str) -> bool:
        """Either of the two, as Fluent Bit's router has it."""
        if self.match_regex is not None and self.match_regex.is_in(tag.encode("utf-8", "surrogateescape")):
            return True
        return self.match is not None and self.match.fullmatch(tag) is not None


@dataclass(frozen=True, slots=True)
class OutputCommon(FilterCommon):
    retry_limit: int | None = key(
        "Retry_Limit",
        retry_limit_kind,
        default="1",
        help="How often a chunk is tried again before it is given up.",
    )
    spool_limit_bytes: int = key(
        "storage.total_limit_size",
        size_bytes,
        default="1G",
        help="Most bytes that wait in the spool for this output, from the start on. Beyond it flows are "
        "dropped first, execs last, of equals the oldest, whether they were tried already or not. What is "
        "being sent just then is not dropped: if that alone is more, it is what there is.",
    )

    def __post_init__(self) -> None:
        FilterCommon.__post_init__(self)
        if not self.spool_limit_bytes:
            raise ValueError(
                "storage.total_limit_size must be more than 0; without storage.path nothing is spooled."
            )
