"""The fuzzer for Python finds what hides behind a few comparisons, and keeps it."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from collector.entries import unpack_entries
from tests.fuzz.fuzz_python import run


def test_limit_counts_inputs(tmp_path: Path) -> None:
    seen: list[bytes] = []
    assert run(seen.append, "30", 1, tmp_path, [b"seed"]) == "30 runs, 1 inputs kept"
    assert seen[0] == b"seed"
    assert len(set(seen)) > 20


def test_input_that_reaches_more_of_the_product_is_kept(tmp_path: Path) -> None:
    def target(data: bytes) -> None:
        with contextlib.suppress(ValueError):
            list(unpack_entries(data))

    found = run(target, "400", 1, tmp_path, [b"\x92\x01\x81\xa1a\x01"])
    assert int(found.split()[2]) > 3


def test_input_that_breaks_the_target_is_left_behind(tmp_path: Path) -> None:
    def target(data: bytes) -> None:
        assert len(data) < 6

    with pytest.raises(AssertionError):
        run(target, "5000", 1, tmp_path, [b"seed"])
    assert len((tmp_path / "broke").read_bytes()) >= 6
