"""What kernel events are worth where something has to be dropped: connections least."""

from __future__ import annotations

from collections.abc import Mapping

from collector.delivery.chunk import Worth

FLOWS = frozenset(("network", "dns"))


def worth_of_tags(tags: Mapping[str, str]) -> dict[str, Worth]:
    """By tag, of tags by subject; one that several subjects share is worth as much as the best of them."""
    found: dict[str, Worth] = {}
    for subject, tag in tags.items():
        worth = Worth.FLOW if subject in FLOWS else Worth.WITNESS
        found[tag] = max(worth, found.get(tag, worth))
    return found
