"""The flags of the command line, in one table: parsed by it, and printed from it.

The names are Fluent Bit's (src/fluent-bit.c), so that a DaemonSet's `args` stay as they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Flag:
    """`takes`: what stands behind it, "" for nothing. `ignored`, `refused`: why, and what to do instead."""

    short: str  # "c"; "" where there is only the long form
    long: str  # "config"
    takes: str
    meaning: str
    group: str
    ignored: str = ""
    refused: str = ""
    also: tuple[str, ...] = ()  # other long forms: Fluent Bit takes some that its help does not print

    @property
    def name(self) -> str:
        """By which the rest of the program knows it."""
        return self.short or self.long

    def __str__(self) -> str:
        """`-c, --config FILE`"""
        short = f"-{self.short}, " if self.short else "    "
        return f"{short}--{self.long} {self.takes}".rstrip()


_CONFIGURATION, _SERVICE, _INSTEAD = "Configuration", "Service", "Instead of running"
_FLUENT_BIT = "Of Fluent Bit"

FLAGS = (
    Flag(
        "c",
        "config",
        "FILE",
        "configuration in Fluent Bit's classic or YAML (.yaml, .yml) format",
        _CONFIGURATION,
    ),
    Flag("R", "parser", "FILE", "parsers file", _CONFIGURATION),
    Flag("i", "input", "NAME", "add an input", _CONFIGURATION),
    Flag("F", "filter", "NAME", "add a filter", _CONFIGURATION),
    Flag("o", "output", "NAME", "add an output", _CONFIGURATION),
    Flag("p", "prop", "KEY=VALUE", "set a key of the plugin before it", _CONFIGURATION),
    Flag(
        "r",
        "processor",
        "NAME",
        "add a processor to the input before it: a filter for its records alone",
        _CONFIGURATION,
    ),
    Flag("t", "tag", "TAG", "tag of the input before it", _CONFIGURATION),
    Flag("m", "match", "MATCH", "tags of the filter or output before it; `*` where unset", _CONFIGURATION),
    Flag("w", "workdir", "FOLDER", "work in this folder: relative paths start there", _SERVICE),
    Flag("f", "flush", "SECONDS", "Flush", _SERVICE),
    Flag("l", "log_file", "FILE", "Log_File", _SERVICE),
    Flag("b", "storage_path", "FOLDER", "storage.path", _SERVICE),
    Flag("H", "http", "", "HTTP_Server On", _SERVICE, also=("http_server",)),
    Flag("L", "http_listen", "ADDRESS", "HTTP_Listen", _SERVICE),
    Flag("P", "port", "PORT", "HTTP_Port", _SERVICE, also=("http_port",)),
    Flag(
        "Y",
        "enable-hot-reload",
        "",
        "Hot_Reload On: SIGHUP and POST /api/v2/reload read the configuration anew",
        _SERVICE,
    ),
    Flag("v", "verbose", "", "log more: once debug, twice trace", _SERVICE),
    Flag("q", "quiet", "", "log nothing", _SERVICE),
    Flag("D", "dry-run", "", "check the configuration, say all that is wrong, exit with 0 or 1", _INSTEAD),
    Flag(
        "S",
        "sosreport",
        "",
        "print what to enclose with a question: versions, machine, configuration",
        _INSTEAD,
    ),
    Flag("V", "version", "", "print the version", _INSTEAD),
    Flag("h", "help", "", "print this; behind -i, -F or -o NAME: the keys of that plugin", _INSTEAD),
    Flag("s", "coro_stack_size", "BYTES", "", _FLUENT_BIT, ignored="podwitness has no coroutine stacks"),
    Flag(
        "Z",
        "enable-chunk-trace",
        "",
        "",
        _FLUENT_BIT,
        ignored="chunks can't be traced; Log_Level trace names them",
    ),
    *(
        Flag("", name, "VALUE", "", _FLUENT_BIT, refused="podwitness can't trace chunks; -vv names them")
        for name in ("trace", "trace-input", "trace-output", "trace-output-property")
    ),
    Flag(
        "J",
        "help-json",
        "",
        "",
        _FLUENT_BIT,
        refused="podwitness prints what there is by `podwitness reference`",
    ),
    Flag(
        "",
        "supervisor",
        "",
        "",
        _FLUENT_BIT,
        refused="podwitness starts itself anew by nobody; let systemd or a pod run it",
    ),
    Flag(
        "W",
        "disable-thread-safety-on-hot-reloading",
        "",
        "",
        _FLUENT_BIT,
        ignored="a reload needs no such precaution",
    ),
    Flag(
        "d",
        "daemon",
        "",
        "",
        _FLUENT_BIT,
        refused="podwitness stays in the foreground; let systemd or a pod run it",
    ),
    Flag(
        "",
        "enable-fips",
        "",
        "",
        _FLUENT_BIT,
        refused="podwitness takes the system's OpenSSL as it is; set FIPS up there",
    ),
    Flag("e", "plugin", "FILE", "", _FLUENT_BIT, refused="podwitness loads no plugins from files"),
    Flag("T", "sp-task", "SQL", "", _FLUENT_BIT, refused="podwitness has no stream processor"),
    Flag("C", "custom", "NAME", "", _FLUENT_BIT, refused="podwitness has no custom plugins"),
)
BY_NAME = {flag.name: flag for flag in FLAGS}


def short_options() -> str:
    """As getopt takes them."""
    return "".join(flag.short + (":" if flag.takes else "") for flag in FLAGS if flag.short)


def long_options() -> list[str]:
    return [name + ("=" if flag.takes else "") for flag in FLAGS for name in (flag.long, *flag.also)]


def find(written: str) -> Flag:
    """The flag of `-c` or `--config`, as getopt gives it back."""
    text = written.lstrip("-")
    return next(flag for flag in FLAGS if text in (flag.short, flag.long, *flag.also))


def effect(flag: Flag) -> str:
    """What it does, in words."""
    if flag.ignored:
        return f"no effect: {flag.ignored}"
    return f"refused: {flag.refused}" if flag.refused else flag.meaning


def listing() -> Iterator[str]:
    """Lines for --help."""
    width = max(len(str(flag)) for flag in FLAGS if flag.group != _FLUENT_BIT)
    group = ""
    for flag in FLAGS:
        if flag.group != group:
            group = flag.group
            yield f"\n{group}"
        yield f"  {flag!s:<{width}} {effect(flag)}"


def table() -> Iterator[str]:
    """Lines for the reference page."""
    yield "| flag | effect |"
    yield "|---|---|"
    for flag in FLAGS:
        yield f"| `{str(flag).strip()}` | {effect(flag)} |"
