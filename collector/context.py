"""What a plugin is given when it is made: its own configuration and the rooms it may use."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collector.config.document import Document, PluginConfig
    from collector.delivery.positions import Positions
    from collector.filters.chain import FilterChain
    from collector.identity.table import IdentityTable
    from collector.plugin import Intake
    from collector.service.metrics import Metrics

Report = Callable[[str, bool, str], None]
"""(component, is it well, reason): a part of the collector tells health how it is."""


@dataclass(frozen=True, slots=True)
class Context:
    """One plugin's view of the collector.

    `plugin` has the instance's name (`tail.0` or its Alias), Tag and Match.
    `positions` opens the position database at a path (None: kept in memory only)
    and gives every caller of one path the same one. `report` may be called from
    the event loop at any time; the last word on a component counts.
    """

    plugin: PluginConfig
    document: Document
    node: str
    node_id: int
    log: logging.Logger
    metrics: Metrics
    intake: Intake
    identities: IdentityTable
    chain: FilterChain
    positions: Callable[[str | None], Positions]
    report: Report

    @property
    def name(self) -> str:
        return self.plugin.name
