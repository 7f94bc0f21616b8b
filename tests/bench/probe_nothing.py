"""Programs that do nothing at the hooks of the probes: what the kernel takes to call any."""

from __future__ import annotations

import os
import struct
from collections.abc import Collection

from probes.catalog import Dialect, Hook, hooks_of
from probes.compiler import find_btf_ids, read_types
from probes.loader import attach, load_program

MOVE_TO_R0, EXIT = 0xB7, 0x95


def code_that_returns(value: int) -> bytes:
    return struct.pack("<BxhiBxhi", MOVE_TO_R0, 0, value, EXIT, 0, 0)


class Nothing:
    def __init__(self, hooks: Collection[Hook]) -> None:
        """`hooks`: those that the probes have here. Walks are not called for what the work does."""
        btf_ids = find_btf_ids(read_types()[0])
        self._programs = {
            hook: load_program(hook, Dialect.TP_BTF, code_that_returns(hook.cgroup is not None), btf_ids)
            for hook in hooks
            if not hook.is_walk
        }
        self._links: list[int] = []

    def attach(self, subjects: Collection[str]) -> None:
        for hook in hooks_of(subjects):
            if program := self._programs.get(hook):
                self._links.append(attach(hook, Dialect.TP_BTF, program))

    def detach(self) -> None:
        while self._links:
            os.close(self._links.pop())

    def close(self) -> None:
        self.detach()
        while self._programs:
            os.close(self._programs.popitem()[1])
