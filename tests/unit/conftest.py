"""What tests of following share: files that are followed, and closed with the test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from collector.inputs.follow import FollowedFile
from collector.inputs.tail_open import open_pinned, pin
from collector.native.logs import LogStream
from collector.plan import Framing, Layout, LogPlan

LINES = LogPlan(Framing.LINE, Layout(content="log"))


@pytest.fixture
def follow(tmp_path: Path) -> Iterator[Callable[..., FollowedFile]]:
    opened: list[FollowedFile] = []

    def open_file(path: Path, plan: LogPlan = LINES) -> FollowedFile:
        file = FollowedFile(open_pinned(pin(str(path)), (str(tmp_path),)), str(path), LogStream(plan))
        opened.append(file)
        return file

    yield open_file
    for file in opened:
        file.close()
