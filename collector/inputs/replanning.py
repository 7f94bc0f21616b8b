"""News of containers, pods and filters that change what is done to records of followed files."""

from __future__ import annotations

from collections.abc import Callable

from collector.filters.chain import FilterChain
from collector.identity.identity import Identity
from collector.identity.table import IdentityTable
from collector.inputs.followed import Followed
from collector.inputs.succession import Plans


class Replanning:
    """Listens between `begin` and `end`; what is concerned is planned anew before its next read."""

    def __init__(
        self, followed: Followed, plans: Plans, identities: IdentityTable, chain: FilterChain
    ) -> None:
        self._followed = followed
        self._plans = plans
        self._identities = identities
        self._chain = chain

    def begin(self) -> None:
        self._identities.changed.append(self._container)
        self._identities.pod_news.append(self._pods)
        self._chain.changed.append(self._filters)

    def end(self) -> None:
        self._identities.changed.remove(self._container)
        self._identities.pod_news.remove(self._pods)
        self._chain.changed.remove(self._filters)

    def _container(self, _: int, identity: Identity) -> None:
        self._followed.replan(lambda one: self._plans.concerns(one, identity))

    def _pods(self, concerns: Callable[[Identity], bool]) -> None:
        self._followed.replan(lambda one: one.identity is not None and concerns(one.identity))

    def _filters(self) -> None:
        self._followed.replan(lambda one: True)
