"""The node that tests with real containers share."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.containers.node import Node


@pytest.fixture(scope="session")
def node() -> Iterator[Node]:
    # A UNIX socket's path has 107 bytes; pytest's own directories are too deep.
    with Node(Path(tempfile.mkdtemp(prefix="pw-", dir="/tmp"))) as started:
        yield started
