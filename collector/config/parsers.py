"""`[PARSER]` sections, and which framing of the log core a parser is."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from collector.config.kinds import shown
from collector.config.schema import boolean, choice, key, nearest, repeated, text
from collector.plan import Framing, Layout

Parsers = Mapping[str, "Parser"]


@dataclass(frozen=True, slots=True)
class Parser:
    """One parser as it was written; only what `framing` can tell is run."""

    name: str = key("Name", text, help="What `Parser` of an input refers to.")
    format: str = key("Format", choice("json", "regex", "ltsv", "logfmt"), help="How a line is read.")
    regex: str = key("Regex", text, default="", help="For Format regex: the expression, with named groups.")
    time_key: str = key("Time_Key", text, default="", help="The field that is the time of the record.")
    time_format: str = key("Time_Format", text, default="", help="How that field is written.")
    time_keep: bool = key("Time_Keep", boolean, default="Off", help="Whether the field stays in the record.")
    time_strict: bool = key(
        "Time_Strict", boolean, default="On", help="Accepted; CRI times are read strictly."
    )
    time_offset: str = key("Time_Offset", text, default="", help="Accepted; CRI times carry their zone.")
    time_system_timezone: bool = key(
        "Time_System_Timezone", boolean, default="Off", help="Accepted; CRI times carry their zone."
    )
    types: str = key("Types", text, default="", help="Accepted; the fields of a CRI line are texts.")
    skip_empty_values: bool = key(
        "Skip_Empty_Values", boolean, default="On", help="Accepted; CRI lines and JSON have no use for it."
    )
    logfmt_no_bare_keys: bool = key(
        "Logfmt_No_Bare_Keys", boolean, default="Off", help="Accepted; CRI lines and JSON have no use for it."
    )
    decode_field: tuple[str, ...] = key(
        "Decode_Field", repeated(text), default=(), help="Accepted; CRI lines and JSON have no use for it."
    )
    decode_field_as: tuple[str, ...] = key(
        "Decode_Field_As", repeated(text), default=(), help="Accepted; CRI lines and JSON have no use for it."
    )

    def __post_init__(self) -> None:
        if self.format == "regex" and not self.regex:
            raise ValueError(f"the parser {self.name} has Format regex, but no Regex.")


# As in Fluent Bit 5, conf/parsers.conf.
BUILT_IN: dict[str, Parser] = {
    "cri": Parser(
        name="cri",
        format="regex",
        regex=r"^(?<time>[^ ]+) (?<stream>stdout|stderr) (?<logtag>[^ ]*) (?<message>.*)$",
        time_key="time",
        time_format="%Y-%m-%dT%H:%M:%S.%L%z",
        time_keep=True,
    ),
    "docker": Parser(
        name="docker", format="json", time_key="time", time_format="%Y-%m-%dT%H:%M:%S.%L", time_keep=True
    ),
    "json": Parser(name="json", format="json", time_key="time", time_format="%d/%b/%Y:%H:%M:%S %z"),
}

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


def framing(name: str, parsers: Parsers) -> tuple[Framing, Layout]:
    """How the log core reads a file with this parser.

    Raises ValueError with a sentence for a parser that is not there or that the
    log core can't do.
    """
    parser = parsers.get(name) or BUILT_IN.get(name)
    if parser is None:
        raise ValueError(f"there is no parser called {shown(name)}. {nearest(name, {**BUILT_IN, **parsers})}")
    if parser.format == "json":
        has_time = _CRI_TIME.fullmatch(parser.time_format) is not None and parser.time_keep
        return Framing.JSON, Layout(content="log", time=parser.time_key if has_time else "")
    if parser.format == "regex":
        layout = cri_layout(parser)
        if layout is not None:
            return Framing.CRI, layout
    raise ValueError(
        f"the parser {shown(name)} (Format {parser.format}) is not one that podwitness can run yet. "
        "It runs Format json, and Format regex with the four fields of a CRI line."
    )


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
