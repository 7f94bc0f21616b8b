"""`[PARSER]` sections, and which framing of the log core a parser is."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from collector.config.kinds import Kind, shown
from collector.config.onigmo import Pattern, compile_onigmo
from collector.config.schema import Key, boolean, choice, key, nearest, ordered, text
from collector.parsers.casts import read_types
from collector.parsers.rules import Rule, read_rule
from collector.parsers.times import TimeFormat
from collector.parsers.zones import zone_offset_s
from collector.plan import Framing, Layout

Parsers = Mapping[str, "Parser"]


def _read_zone(written: str) -> int:
    offset_s = zone_offset_s(written)
    if offset_s is None:
        raise ValueError("expected a zone such as +0200, -05:30 or Z.")
    return offset_s


def _read_types(written: str) -> str:
    read_types(written)
    return written


zone_offset = Kind("zone", _read_zone, show=lambda offset_s: f"{offset_s // 3600:+03d}00")
types = Kind("key:type ...", _read_types)


@dataclass(frozen=True, slots=True)
class Parser:
    """One parser as it was written."""

    name: str = key("Name", text, help="What `Parser` of an input or filter refers to.")
    format: str = key("Format", choice("json", "regex", "ltsv", "logfmt"), help="How a line is read.")
    regex: str = key("Regex", text, default="", help="For Format regex: the expression, with named groups.")
    time_key: str = key(
        "Time_Key", text, default="", help="The field that is the time of the record; `time` where unset."
    )
    time_format: str = key(
        "Time_Format", text, default="", help="How that field is written: strptime, and `%L` for fractions."
    )
    time_keep: bool = key("Time_Keep", boolean, default="Off", help="Whether the field stays in the record.")
    time_strict: bool = key(
        "Time_Strict", boolean, default="On", help="Off: what fits at the beginning of the field counts."
    )
    time_offset_s: int = key(
        "Time_Offset", zone_offset, default="+0000", help="The zone of times that name none, such as +0200."
    )
    time_system_timezone: bool = key(
        "Time_System_Timezone", boolean, default="Off", help="Such times are of the node's zone instead."
    )
    types: str = key(
        "Types",
        types,
        default="",
        help="`key:type ...`: string, integer, float, bool, hex of a text's fields.",
    )
    skip_empty_values: bool = key(
        "Skip_Empty_Values", boolean, default="On", help="For Format regex: empty fields are left out."
    )
    logfmt_no_bare_keys: bool = key(
        "Logfmt_No_Bare_Keys", boolean, default="Off", help="For logfmt: a key without `=` fails the line."
    )
    decoders: tuple[tuple[str, Rule], ...] = ordered(
        Key(
            "Decode_Field",
            Kind("decoder and field", lambda written: read_rule(written, as_value=False)),
            "`json log`: the field's content is decoded, and its pairs go to the record's end.",
        ),
        Key(
            "Decode_Field_As",
            Kind("decoder and field", lambda written: read_rule(written, as_value=True)),
            "`escaped_utf8 log`: the decoded content takes the field's place.",
        ),
    )

    def __post_init__(self) -> None:
        if self.format == "regex" and not self.regex:
            raise ValueError(f"the parser {self.name} has Format regex, but no Regex.")
        if self.time_format:
            # Only whether it can be read: most parsers of a file are not used.
            TimeFormat.compile(self.time_format)

    @property
    def time(self) -> TimeFormat | None:
        if not self.time_format:
            return None
        return _time(self.time_format, self.time_strict, self.time_offset_s, self.time_system_timezone)

    @property
    def pattern(self) -> Pattern | None:
        """Of Format regex. Raises ValueError for what RE2 can't do."""
        return compile_onigmo(self.regex) if self.format == "regex" else None

    @property
    def casts(self) -> dict[str, Callable[[str], Any]]:
        return read_types(self.types)

    @property
    def rules(self) -> tuple[Rule, ...]:
        return tuple(rule for _, rule in self.decoders)


@lru_cache(64)
def _time(written: str, is_strict: bool, offset_s: int, is_local: bool) -> TimeFormat:
    return TimeFormat.compile(written, is_strict=is_strict, offset_s=offset_s, is_local=is_local)


# The four fields of a CRI line in the notations that are in use: any names, any way to say "a word".
_CRI = re.compile(
    r"""/? \^
    \(\?<(?P<time>\w+)>    (?: \[\^\ \][+*] | \[\^\\s\][+*] | \\S[+*] | \.[+*]\?? ) \)
    (?: \ | \\s\+? )
    \(\?<(?P<stream>\w+)>  (?: stdout\|stderr | stderr\|stdout | std\(\?:out\|err\) ) \)
    (?: \ | \\s\+? )
    \(\?<(?P<logtag>\w+)>  (?: \[\^\ \][+*] | \[\^\\s\][+*] | \\S[+*] | \[(?:FP|PF)\]\+? | F\|P | P\|F ) \)
    (?: \ | \\s ) \??
    \(\?<(?P<content>\w+)> \.[*+] \)
    \$? /?""",
    re.VERBOSE,
)
_CRI_TIME = re.compile(r"%Y-%m-%dT%H:%M:%S(\.%L)?(%z|Z|%Z)?|%FT%T(\.%L)?(%z|Z|%Z)?")


def find(name: str, parsers: Parsers) -> Parser:
    """Raises ValueError with a sentence for a parser that is not there."""
    parser = parsers.get(name)
    if parser is None:
        raise ValueError(f"there is no parser called {shown(name)}. {nearest(name, parsers)}")
    return parser


def framing(parser: Parser) -> tuple[Framing, Layout] | None:
    """How the log core reads a line with this parser; None: it leaves lines to the parser itself."""
    if parser.format == "json" and not parser.decoders:
        has_time = _CRI_TIME.fullmatch(parser.time_format) is not None and parser.time_keep
        return Framing.JSON, Layout(content="log", time=parser.time_key if has_time else "")
    layout = cri_layout(parser) if parser.format == "regex" else None
    return None if layout is None else (Framing.CRI, layout)


def cri_layout(parser: Parser) -> Layout | None:
    """The names that a CRI expression gives to its fields; None: it is another expression."""
    found = _CRI.fullmatch(parser.regex)
    if found is None or parser.time_key != found["time"] or not _CRI_TIME.fullmatch(parser.time_format):
        return None
    return Layout(
        time=found["time"] if parser.time_keep else "",
        stream=found["stream"],
        logtag=found["logtag"],
        content=found["content"],
    )
