"""The configuration of tail, and the plan that its parser means."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from collector.config.multiline import check_names, multiline_parsers
from collector.config.onigmo import Pattern
from collector.config.schema import (
    boolean,
    choice,
    commas,
    key,
    pattern,
    prefixed,
    repeated_list,
    seconds,
    size_bytes,
    text,
)
from collector.config.service import LEAST_RECORD_BYTES
from collector.delivery.database import JOURNAL_HELP, LOCKING_HELP, SYNC_HELP, DatabaseModes
from collector.errors import ConfigError
from collector.inputs.tail_first_lines import first_lines, joining
from collector.inputs.tail_groups import HIDDEN_OFFSET, Grouping
from collector.inputs.tail_parser import Step, reading
from collector.multiline.built_in import CONTAINER_NAMES
from collector.multiline.parsers import MultilineParser
from collector.native.logs import DEFAULT_MAX_RECORD_BYTES
from collector.plan import CRI_JOINED_LAYOUT, Framing, Layout, LogPlan

if TYPE_CHECKING:
    from collector.config.parsers import Parsers
    from collector.context import InputContext


@dataclass(frozen=True, slots=True)
class Settings:
    path: tuple[str, ...] = key(
        "Path",
        commas,
        help="Files to follow: patterns as of the shell, by commas. What a log is rotated to is found "
        "without being meant; where it is meant, copies (copytruncate) come twice.",
    )
    exclude_path: tuple[str, ...] = key(
        "Exclude_Path", commas, default=(), help="Patterns of files that are not followed; `*` crosses `/`."
    )
    path_key: str = key("Path_Key", text, default="", help="A key for the name of the file in each record.")
    line_key: str = key("Key", text, default="log", help="The key of a line that no parser took apart.")
    parser: str = key("Parser", text, default="", help="How a line is read: cri, json, or one of [PARSER].")
    multiline_parser: tuple[str, ...] = key(
        "multiline.parser",
        repeated_list(commas),
        default=(),
        help="`cri`, `docker`: parts of one line are joined. `go`, `java`, `python`, `ruby` or one of "
        "[MULTILINE_PARSER]: lines of one record are, after that; these rules take a core for some 20 MB/s. "
        "Goes before Parser.",
    )
    db: str = key(
        "DB",
        text,
        default="",
        help="Where positions are kept over a restart, with what is in flight in a file `-stretches` "
        "beside it; empty: in memory only, and chunks that come again after a restart have other ids.",
    )
    db_sync: str = key(
        "DB.sync",
        choice("extra", "full", "normal", "off"),
        default="normal",
        help=SYNC_HELP,
    )
    db_locking: bool = key("DB.locking", boolean, default="Off", help=LOCKING_HELP)
    db_journal_mode: str = key(
        "DB.journal_mode",
        choice("DELETE", "TRUNCATE", "PERSIST", "MEMORY", "WAL", "OFF"),
        default="WAL",
        help=JOURNAL_HELP,
    )
    db_compare_filename: bool = key(
        "DB.compare_filename", boolean, default="Off", help="Accepted; names are always compared too."
    )
    tag_regex: Pattern | None = key(  # noqa: RUF009 - a field, not a shared default
        "Tag_Regex",
        pattern,
        default=None,
        help="Named groups of the path that Tag has as `<name>`; `_` where the path does not match.",
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
    offset_key: str = key(
        "Offset_Key", text, default="", help="A key for the place in the file where the record begins."
    )
    buffer_chunk_size: int = key(
        "Buffer_Chunk_Size",
        size_bytes,
        default="32k",
        help="Accepted. In Fluent Bit the buffer of each file begins with so much and grows by it; here "
        "files have none of their own: one serves all, and reads 2 MiB at a time.",
    )
    buffer_max_size: int = key(
        "Buffer_Max_Size",
        size_bytes,
        default="2M",
        help="Longest line; a longer one is cut and marked. For joined ones there is multiline_buffer_limit.",
    )
    skip_long_lines: bool = key(
        "Skip_Long_Lines",
        boolean,
        default="Off",
        help="Lines over Buffer_Max_Size are left out and counted; Off: they are cut and marked.",
    )
    truncate_long_lines: bool = key(
        "Truncate_Long_Lines", boolean, default="On", help="Accepted; see Skip_Long_Lines."
    )
    docker_mode: bool = key(
        "Docker_Mode", boolean, default="Off", help="The same as `multiline.parser docker`."
    )
    docker_mode_flush_s: float = key(
        "Docker_Mode_Flush",
        seconds,
        default="4",
        help="Accepted; parts wait for as long as the container lives.",
    )
    multiline: bool = key(
        "Multiline",
        boolean,
        default="Off",
        help="Fluent Bit's older way: Parser_Firstline knows the first line of a record; Parser is not used.",
    )
    parser_firstline: str = key(
        "Parser_Firstline", text, default="", help="For Multiline On: what takes the first line apart."
    )
    more_parsers: tuple[tuple[str, str], ...] = prefixed(
        "parser_",
        "{number}",
        text,
        help="For Multiline On: what takes lines behind it apart; a line that none knows goes on with the "
        "last field.",
    )
    multiline_flush_s: float = key(
        "Multiline_Flush",
        seconds,
        default="4",
        help="For Multiline On: how long an open record waits for a line.",
    )
    inotify_watcher: bool = key(
        "Inotify_Watcher",
        boolean,
        default="On",
        help="Off: directories and files are looked at every second.",
    )
    exit_on_eof: bool = key(
        "Exit_On_Eof", boolean, default="Off", help="The agent stops when all files are read to their end."
    )
    deleted_limit_bytes: int = key(
        "Deleted_Limit",
        size_bytes,
        default="1G",
        help="What deleted files that no output takes may hold on disk. Beyond it the oldest are lost, and "
        "told; with storage.path they go to the spool before.",
    )
    skip_empty_lines: bool = key(
        "Skip_Empty_Lines", boolean, default="Off", help="Lines without a byte are no records."
    )

    def __post_init__(self) -> None:
        if not self.path:
            raise ValueError("has an empty Path, so there is nothing to follow.")
        if self.refresh_interval_s <= 0:
            raise ValueError("has a Refresh_Interval of 0. Write a time such as 10.")
        if self.buffer_max_size < LEAST_RECORD_BYTES:
            raise ValueError("has a Buffer_Max_Size under 1k. Write a size such as 2M.")
        wrong = [rest for rest, _ in self.more_parsers if rest != "firstline" and not rest.isdecimal()]
        if wrong:
            raise ValueError(f"has Parser_{wrong[0]}. Write Parser_Firstline, Parser_1, Parser_2 and so on.")
        if self.multiline and not self.parser_firstline:
            raise ValueError("has Multiline On without Parser_Firstline.")
        if self.multiline and (self.multiline_parser or self.docker_mode):
            raise ValueError("has Multiline On and another way to join lines. Keep one of them.")
        if self.docker_mode and self.multiline_parser:
            raise ValueError("has Docker_Mode and multiline.parser. Write docker among the latter instead.")

    @property
    def db_modes(self) -> DatabaseModes:
        return DatabaseModes(self.db_sync, self.db_journal_mode, self.db_locking)

    @property
    def other_parsers(self) -> list[str]:
        """Of lines behind the first, in the order of their numbers."""
        numbered = [(int(rest), name) for rest, name in self.more_parsers if rest.isdecimal()]
        return [name for _, name in sorted(numbered)]

    @property
    def joins(self) -> bool:
        """Whether a record may be of several lines or parts."""
        return bool(self.multiline_parser) or self.docker_mode or self.multiline


def max_record_bytes(settings: Settings, context: InputContext) -> int:
    """Buffer_Max_Size for a line, multiline_buffer_limit for what is joined of several ones.

    In configurations of Fluent Bit the former is often less than 2 MB, since there it is the length of a line
    in the file; only where it is raised it counts for joined records too.
    """
    longest = settings.buffer_max_size
    if not settings.joins:
        return longest
    joined = context.document.service.multiline_buffer_limit_bytes
    return max(longest, joined) if longest > DEFAULT_MAX_RECORD_BYTES else joined


def plan_of(settings: Settings, context: InputContext) -> LogPlan:
    """How lines become records. Raises ConfigError for a parser that can't be run."""
    offset_key = settings.offset_key
    try:
        kind, layout = _framing(settings, context)
        if _multiline_parsers(settings, context):
            offset_key = offset_key or HIDDEN_OFFSET
    except ValueError as reason:
        raise ConfigError(f"{context.plugin.section.place}: {reason}") from None
    layout = replace(layout, raw=settings.line_key, offset=offset_key)
    return LogPlan(kind, layout, skips_long=settings.skip_long_lines, skips_empty=settings.skip_empty_lines)


def step_of(settings: Settings, context: InputContext) -> Step | None:
    """What Parser does to records that the log core does not; None: nothing. Raises ConfigError."""
    if settings.multiline_parser or not (settings.parser or settings.multiline):
        return None
    try:
        if settings.multiline:
            parsers, others = context.document.parsers, settings.other_parsers
            return first_lines(settings.parser_firstline, others, parsers, settings.line_key)
        return reading(settings.parser, context.document.parsers, settings.line_key)[2]
    except ValueError as reason:
        raise ConfigError(f"{context.plugin.section.place}: {reason}") from None


def _multiline_parsers(settings: Settings, context: InputContext) -> tuple[MultilineParser, ...]:
    """Raises ValueError."""
    if settings.multiline:
        known = context.document.parsers
        return (joining(settings.parser_firstline, known, settings.multiline_flush_s),)
    return multiline_parsers(settings.multiline_parser, context.document.multiline_parsers)


def _framing(settings: Settings, context: InputContext) -> tuple[Framing, Layout]:
    """Raises ValueError."""
    document = context.document
    if settings.multiline:
        return Framing.LINE, Layout(content=settings.line_key)
    check_names(settings.multiline_parser, document.multiline_parsers)
    if containers := _containers(settings, context):
        return _CONTAINERS[("cri" in containers, "docker" in containers)], CRI_JOINED_LAYOUT
    if settings.multiline_parser:
        return _framing_of_joined(_parser_of_joined(settings, context), settings, document.parsers)
    if not settings.parser:
        return Framing.LINE, Layout(content=settings.line_key)
    return reading(settings.parser, document.parsers, settings.line_key)[:2]


def _containers(settings: Settings, context: InputContext) -> set[str]:
    """Runtimes whose lines are joined of their parts, before anything else."""
    known = context.document.multiline_parsers
    named = {name for name in settings.multiline_parser if name not in known}
    return {"docker"} if settings.docker_mode else named & set(CONTAINER_NAMES)


def _parser_of_joined(settings: Settings, context: InputContext) -> str:
    """What takes lines apart before they are joined; "" for nothing. Raises ValueError."""
    found = {one.parser for one in _multiline_parsers(settings, context) if one.parser}
    if len(found) > 1:
        raise ValueError(f"its multiline parsers have different parsers: {', '.join(sorted(found))}.")
    return found.pop() if found else ""


def _framing_of_joined(name: str, settings: Settings, parsers: Parsers) -> tuple[Framing, Layout]:
    """Parts of one CRI line are joined before."""
    if not name:
        return Framing.LINE, Layout(content=settings.line_key)
    kind, layout, _ = reading(name, parsers, settings.line_key)
    return (Framing.CRI_JOINED if kind is Framing.CRI else kind), layout


_CONTAINERS = {
    (True, False): Framing.CRI_JOINED,
    (False, True): Framing.DOCKER_JOINED,
    (True, True): Framing.CONTAINER_JOINED,
}


def grouping_of(settings: Settings, context: InputContext) -> Grouping | None:
    """How lines are joined into records after that; None: a line is a record. Raises ConfigError."""
    parsers = _multiline_parsers(settings, context)
    if not parsers:
        return None
    plan = plan_of(settings, context)
    step = _step_before_joining(settings, context)
    is_taken_apart = plan.framing is not Framing.LINE or step is not None
    content = next((one.key_content for one in parsers if one.key_content), plan.layout.content)
    looked_at = next((one.key_pattern for one in parsers if one.key_pattern), "")
    return Grouping(
        parsers,
        max_record_bytes(settings, context),
        plan.framing,
        content if is_taken_apart else settings.line_key,
        looked_at,
        plan.layout.stream or "stream",
        plan.layout.offset,
        step,
    )


def _step_before_joining(settings: Settings, context: InputContext) -> Step | None:
    """What the parser of the multiline parsers does to lines that the log core does not."""
    if settings.multiline or _containers(settings, context):
        return None
    name = _parser_of_joined(settings, context)
    return reading(name, context.document.parsers, settings.line_key)[2] if name else None
