"""What a plugin is given when it is made: its own configuration and the rooms it may use."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collector.config.document import Document, PluginConfig
    from collector.delivery.database import DatabaseModes
    from collector.delivery.positions import Positions
    from collector.filters.chain import FilterChain
    from collector.identity.identity import Identity
    from collector.identity.table import IdentityTable
    from collector.plugin import AnyFilter, Intake
    from collector.record import Record
    from collector.service.metrics import Metrics
    from probes.starter import Starter

Send = Callable[["AnyFilter", str, Sequence["Record"], "Identity | None"], Awaitable[None]]
"""(filter, tag, records, whose): a filter hands records on later, by itself."""

Report = Callable[[str, bool, str], None]
"""(component, is it well, reason): a part of the collector tells health how it is."""


@dataclass(frozen=True, slots=True)
class Context:
    """What every plugin is given.

    `plugin` has the instance's name (`tail.0` or its Alias), Tag and Match.
    `report` may be called from the event loop at any time; the last word on a
    component counts.
    """

    plugin: PluginConfig
    document: Document
    node: str
    node_id: bytes  # 8 bytes: this machine and this boot of it
    log: logging.Logger
    metrics: Metrics
    identities: IdentityTable
    report: Report
    send: Send

    @property
    def name(self) -> str:
        return self.plugin.name


@dataclass(frozen=True, slots=True)
class InputContext(Context):
    """What an input has beside that.

    `positions` opens the position database at a path (None: kept in memory only)
    and gives every caller of one path the same one, in the modes of the last. `starter` starts the loader of
    the probes (None: the input starts it itself).
    """

    intake: Intake
    chain: FilterChain
    positions: Callable[[str | None, DatabaseModes], Positions]
    starter: Starter | None = None
