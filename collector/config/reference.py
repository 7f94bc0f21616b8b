"""docs/configuration.md, printed from the declarations that configurations are read by."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from collector.config import flags
from collector.config.document import PROCESSORS_OF_OUTPUTS
from collector.config.foreign import IGNORED, REFUSED
from collector.config.instances import FilterCommon, InputCommon, OutputCommon
from collector.config.multiline import MultilineSection
from collector.config.parsers import Parser
from collector.config.schema import Key, keys_of
from collector.config.service import ServiceSettings
from collector.config.stock_parsers import STOCK
from collector.config.upstreams import NodeKeys
from collector.plugins import PLUGINS, PluginKind, Row

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

_HEAD = """\
# Configuration

Printed by `make docs` (and by `podwitness reference`) from the declarations that the collector reads.

podwitness reads Fluent Bit's classic format, and its YAML format from files that end in `.yaml` or `.yml`.
Keys are compared without case. `${NAME}` in a value is a variable set by `@SET NAME=value` (in YAML under
`env`), else of the environment; one that is not set is an error. A variable that is set to
`file://PATH` has the value that the file holds. `@INCLUDE FILE` (in YAML `includes`) is
relative to the including file, else to the main file, and may be a pattern. An unknown section, plugin or
key and a bad value are errors with their file and line, and all of them are told at once; `--dry-run` only
checks.

| type | what is written |
|---|---|
| time | `5`, `0.5`, `20ms`, `5s`, `1m`, `1h`, `1d`; a plain number is seconds |
| size | `32000`, `32k`, `50MB`, `1G` (powers of 1000); `64Ki`, `1MiB` (powers of 1024) |
| On or Off | also `true`, `false`, `yes`, `no` |
| pattern with * | `*` stands for any text |
| regular expression | Ruby's dialect, as in Fluent Bit; bare or as `/a/i` |
"""
_PROCESSORS = (
    "In YAML an input or output may have `processors`, with a list of filters under `logs`. Those of an "
    "input get what it makes, whatever its tag, before all filters, and need no Match; what they give "
    "another tag goes on with the filters. Those of an output get what it is given, each time that it is "
    f"tried; they may be {', '.join(f'`{name}`' for name in PROCESSORS_OF_OUTPUTS)}. The spool and "
    "rejected chunks have records as they were before.\n"
)
_UPSTREAMS = (
    "`Upstream` of an output names a file with one [UPSTREAM] and a [NODE] for each receiver (in YAML "
    "`upstream_servers` with `nodes`), or an [UPSTREAM] of the main configuration. A node has the keys "
    "of its output, over those that the output itself has, and these:\n"
)
_TURNS = (
    "\nChunks go to the nodes in turns, by their weights. What one does not take goes to the next at "
    "once; a node that failed is left out for 5 seconds, then for twice as long, up to 5 minutes.\n"
)
_PARSERS = (
    "Parsers stand in the files that `Parsers_File` names. Built in are "
    f"{', '.join(f'`{name}`' for name in sorted(STOCK))}, which a file may "
    "define anew. Patterns are run by RE2: without looking around and back references.\n"
)
_MULTILINE = (
    "They stand where parsers do; `go`, `java`, `python` and `ruby` are built in. A rule with "
    "`start_state` knows the first line of a record, the rules for the state that this led to know the "
    "next, and so on. What patterns can say is RE2's: no looking around, no back references.\n"
)
_TITLES: dict[PluginKind, str] = {"input": "Inputs", "filter": "Filters", "output": "Outputs"}
_COMMON: dict[PluginKind, type[DataclassInstance]] = {
    "input": InputCommon,
    "filter": FilterCommon,
    "output": OutputCommon,
}


def main(arguments: Sequence[str] = ()) -> int:
    """Prints the page."""
    print(page(), end="")
    return 0


def page() -> str:
    """The page."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    yield _HEAD
    yield "## Command line\n"
    yield "Flags go in Fluent Bit's manner: each belongs to the plugin before it.\n"
    yield from flags.table()
    yield "\n## [SERVICE]\n"
    yield from _table(ServiceSettings)
    for kind, title in _TITLES.items():
        yield f"\n## {title}\n"
        yield from _plugins(kind)
    yield f"\n## Processors\n\n{_PROCESSORS}"
    yield f"\n## Upstreams\n\n{_UPSTREAMS}"
    yield from _table(NodeKeys)
    yield _TURNS
    yield f"\n## [PARSER]\n\n{_PARSERS}"
    yield from _table(Parser)
    yield f"\n## [MULTILINE_PARSER]\n\n{_MULTILINE}"
    yield from _table(MultilineSection)
    yield "\n## Accepted without effect\n"
    yield "Keys of Fluent Bit that have nothing to set up here; the reason is logged at the start.\n"
    yield from _ignored()
    yield "\n## Refused\n"
    yield "Other keys of Fluent Bit are errors, unless they are Off; these say what to do instead.\n"
    yield from _refused()


def _plugins(kind: PluginKind) -> Iterator[str]:
    yield f"Keys of every {kind}:\n"
    yield from _table(_COMMON[kind])
    for row in PLUGINS:
        if row.kind == kind:
            yield from _plugin(row)


def plugin_page(row: Row) -> str:
    """What the page has of one plugin, and of all of its kind."""
    return "\n".join((*_plugin(row), f"\nKeys of every {row.kind}:\n", *_table(_COMMON[row.kind])))


def _plugin(row: Row) -> Iterator[str]:
    module = row.load()
    yield f"\n### {row.name}\n\n{module.SUMMARY}\n"
    yield from _table(module.Settings)


def _table(settings: type[DataclassInstance]) -> Iterator[str]:
    keys = keys_of(settings)
    if not keys:
        yield "No keys of its own."
        return
    yield "| key | type | default | meaning |"
    yield "|---|---|---|---|"
    for key in keys:
        names = ", ".join(f"`{name}`" for name in key.names)
        yield f"| {names} | {_cell(_type(key))} | {_default(key)} | {_cell(key.help)} |"


def _type(key: Key) -> str:
    return f"{key.kind.name}, repeated" if key.kind.repeated else key.kind.name


def _default(key: Key) -> str:
    if key.required:
        return "(required)"
    return f"`{_cell(key.default_text)}`" if key.default_text else ""


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _ignored() -> Iterator[str]:
    yield "| where | key | why |"
    yield "|---|---|---|"
    for kind, keys in IGNORED.items():
        for name, reason in keys.items():
            yield f"| {kind} | `{name}` | {_cell(reason)} |"


def _refused() -> Iterator[str]:
    yield "| where | key, or its beginning | instead |"
    yield "|---|---|---|"
    for (kind, plugin), keys in REFUSED.items():
        for name, instead in keys.items():
            yield f"| {f'{kind} {plugin}'.strip()} | `{name}` | {_cell(instead)} |"


if __name__ == "__main__":
    sys.exit(main())
