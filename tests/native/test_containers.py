"""collector.native.containers: the table of constant pairs beside a dict."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from collector.native.containers import ContainerTable, Fragment
from collector.native.event_kinds import Scope


class TableAgainstDict(RuleBasedStateMachine):
    """Open addressing with removal against a dict; few ids that collide, so that chains form and break."""

    def __init__(self) -> None:
        super().__init__()
        self.table = ContainerTable(max_entries=12, max_bytes=400)
        self.model: dict[int, Fragment] = {}

    @rule(cgroup=st.integers(0, 20) | st.integers(2**63, 2**63 + 5), size=st.integers(0, 120))
    def set(self, cgroup: int, size: int) -> None:
        fragment = Fragment(bytes(size), size, Scope.HOST)
        others = sum(len(one.pairs) for key, one in self.model.items() if key != cgroup)
        fits = others + size <= 400 and (cgroup in self.model or len(self.model) < 12)
        assert self.table.set(cgroup, fragment) == fits
        if fits:
            self.model[cgroup] = fragment

    @precondition(lambda self: self.model)
    @rule(choice=st.integers(0, 50))
    def remove(self, choice: int) -> None:
        cgroup = sorted(self.model)[choice % len(self.model)]
        assert self.table.remove(cgroup)
        del self.model[cgroup]
        assert not self.table.remove(cgroup)

    @invariant()
    def agrees(self) -> None:
        assert len(self.table) == len(self.model)
        assert self.table.size_bytes == sum(len(one.pairs) for one in self.model.values())
        for cgroup in (*range(21), *range(2**63, 2**63 + 6)):
            assert self.table.find(cgroup) == self.model.get(cgroup)


TestTableAgainstDict = TableAgainstDict.TestCase
