"""collector.inputs.replanning: whose files are planned anew after which news."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from collector.filters.chain import FilterChain
from collector.identity.identity import Identity
from collector.inputs.replanning import Replanning

WEB = Identity("n", "c1", namespace="shop", pod_name="web-0", pod_uid="u-1")
DB = Identity("n", "c2", namespace="shop", pod_name="db-0", pod_uid="u-2")


class Files:
    def __init__(self) -> None:
        self.identities = (WEB, DB, None)
        self.replanned: list[Identity | None] = []

    def replan(self, concerns: Any) -> None:
        self.replanned = [one for one in self.identities if concerns(SimpleNamespace(identity=one))]


def test_news_reach_whom_they_concern_until_the_end() -> None:
    files = Files()
    identities = SimpleNamespace(changed=[], pod_news=[])
    plans = SimpleNamespace(concerns=lambda succession, identity: succession.identity == identity)
    chain = FilterChain(())
    replanning = Replanning(cast(Any, files), cast(Any, plans), cast(Any, identities), chain)
    replanning.begin()
    identities.changed[0](7, DB)
    assert files.replanned == [DB]
    identities.pod_news[0](lambda identity: identity.pod_uid == "u-1")
    assert files.replanned == [WEB]
    chain.replace(())
    assert files.replanned == [WEB, DB, None]
    replanning.end()
    assert identities.changed == identities.pod_news == chain.changed == []
