"""A filter of a section as a test drives it: settings by the section's text, records through the chain."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

from collector.config.classic import read
from collector.config.parsers import Parser
from collector.config.schema import load
from collector.config.sections import Draft
from collector.config.service import ServiceSettings
from collector.config.stock_parsers import STOCK
from collector.entries import Pairs, pack_entry, unpack_entries
from collector.filters.chain import FilterChain
from collector.plugin import AnyFilter

TIME_NS = 1_700_000_000_000_000_000


class SectionText:
    """`[FILTER]` with these lines, read as a configuration is. Raises InvalidConfiguration."""

    def __init__(self, folder: Any, text: str) -> None:
        path = folder / "filter.conf"
        path.write_text("[FILTER]\n" + "".join(f"    {line.strip()}\n" for line in text.strip().splitlines()))
        draft = Draft()
        read(str(path), draft, "test")
        assert not draft.problems
        (self.section,) = draft.sections

    def settings(self, module: Any) -> Any:
        return load(module.Settings, self.section)


def make(
    module: Any,
    section: SectionText,
    service: ServiceSettings | None = None,
    parsers: Mapping[str, Parser] = STOCK,
    **more: Any,
) -> AnyFilter:
    """The filter, which matches every tag."""
    service = service or ServiceSettings()
    context = SimpleNamespace(
        plugin=SimpleNamespace(matches=lambda tag: True, section=section.section),
        document=SimpleNamespace(parsers=dict(parsers), multiline_parsers={}, service=service),
        log=logging.getLogger("test"),
        **more,
    )
    made: AnyFilter = module.make(section.settings(module), context)
    return made


def through(
    one: AnyFilter, *records: Pairs, tag: str = "a.b", others: Sequence[AnyFilter] = ()
) -> dict[str, list[tuple[int, Pairs]]]:
    """Time and pairs by tag, of records that all have TIME_NS."""
    chain = FilterChain([one, *others])
    _, rest = chain.record_plan(tag)
    entries = b"".join(pack_entry(TIME_NS, record) for record in records)
    found = chain.apply(rest, tag, entries, None)
    assert all(part.records == len(list(unpack_entries(part.entries))) for part in found)
    return {part.tag: list(unpack_entries(part.entries)) for part in found}


def pairs_of(one: AnyFilter, *records: Pairs, tag: str = "a.b") -> list[Pairs]:
    """The same without times, of the records' own tag."""
    return [pairs for _, pairs in through(one, *records, tag=tag)[tag]]
