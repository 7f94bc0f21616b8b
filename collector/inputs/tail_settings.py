"""The configuration of tail, and the plan that its parser means."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from collector.config.parsers import framing
from collector.config.schema import boolean, choice, commas, key, seconds, size_bytes, text
from collector.errors import ConfigError
from collector.native.logs import DEFAULT_MAX_RECORD_BYTES
from collector.plan import CRI_JOINED_LAYOUT, Framing, Layout, LogPlan

if TYPE_CHECKING:
    from collector.context import InputContext


@dataclass(frozen=True, slots=True)
class Settings:
    path: tuple[str, ...] = key("Path", commas, help="Files to follow: patterns as of the shell, by commas.")
    exclude_path: tuple[str, ...] = key(
        "Exclude_Path", commas, default=(), help="Patterns of files that are not followed; `*` crosses `/`."
    )
    path_key: str = key("Path_Key", text, default="", help="A key for the name of the file in each record.")
    line_key: str = key("Key", text, default="log", help="The key of a line that no parser took apart.")
    parser: str = key("Parser", text, default="", help="How a line is read: cri, json, or one of [PARSER].")
    multiline_parser: tuple[str, ...] = key(
        "multiline.parser",
        commas,
        default=(),
        help="`cri`: parts of one record are joined; goes before Parser.",
    )
    db: str = key(
        "DB", text, default="", help="Where positions are kept over a restart; empty: in memory only."
    )
    db_sync: str = key(
        "DB.sync",
        choice("extra", "full", "normal", "off"),
        default="normal",
        help="Accepted; positions follow delivery, so an old one repeats records and loses none.",
    )
    read_from_head: bool = key(
        "Read_from_Head",
        boolean,
        default="Off",
        help="Files that are there at the first start: from the head.",
    )
    refresh_interval_s: float = key(
        "Refresh_Interval", seconds, default="60", help="How often directories are looked at, events apart."
    )
    rotate_wait_s: float = key(
        "Rotate_Wait", seconds, default="5", help="How long a renamed file goes before the one in its place."
    )
    ignore_older_s: float = key(
        "Ignore_Older", seconds, default="0", help="Files not written for so long are left alone; 0: none."
    )
    buffer_chunk_size: int = key(
        "Buffer_Chunk_Size", size_bytes, default="32k", help="Accepted; all files share one buffer."
    )
    buffer_max_size: int = key(
        "Buffer_Max_Size",
        size_bytes,
        default="2M",
        help="Longest record, 2M at least; a longer one is cut and marked.",
    )
    skip_long_lines: bool = key(
        "Skip_Long_Lines", boolean, default="Off", help="Accepted; long lines are cut, never skipped."
    )

    def __post_init__(self) -> None:
        if not self.path:
            raise ValueError("has an empty Path, so there is nothing to follow.")
        if self.refresh_interval_s <= 0:
            raise ValueError("has a Refresh_Interval of 0. Write a time such as 10.")
        unknown = [name for name in self.multiline_parser if name not in ("cri", "docker")]
        if unknown or (self.multiline_parser and "cri" not in self.multiline_parser):
            raise ValueError(
                f"has multiline.parser {', '.join(self.multiline_parser)}; podwitness has cri only. "
                "Join other lines where the records arrive."
            )

    @property
    def max_record_bytes(self) -> int:
        """Fluent Bit's 32k is for a line; records of several lines it, too, delivers whole up to 2 MB."""
        return max(self.buffer_max_size, DEFAULT_MAX_RECORD_BYTES)


def plan_of(settings: Settings, context: InputContext) -> LogPlan:
    """How lines become records. Raises ConfigError for a parser that can't be run."""
    if settings.multiline_parser:
        return LogPlan(Framing.CRI_JOINED, replace(CRI_JOINED_LAYOUT, raw=settings.line_key))
    if not settings.parser:
        return LogPlan(Framing.LINE, Layout(content=settings.line_key))
    try:
        kind, layout = framing(settings.parser, context.document.parsers)
    except ValueError as reason:
        raise ConfigError(f"{context.plugin.section.place}: {reason}") from None
    return LogPlan(kind, replace(layout, raw=settings.line_key))
