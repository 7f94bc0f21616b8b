"""The fuzzer for Python finds what hides behind a few comparisons, and keeps it."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from collector.entries import unpack_entries
from tests.fuzz.fuzz_python import INPUT_BYTES, LARGE_BYTES, LARGE_EVERY, run


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


def test_one_in_so_many_inputs_is_large(tmp_path: Path) -> None:
    sizes: list[int] = []
    run(lambda data: sizes.append(len(data)), str(40 * LARGE_EVERY), 1, tmp_path, [b"seed"])
    large = sizes[LARGE_EVERY - 1 :: LARGE_EVERY]
    assert max(large) > LARGE_BYTES // 2
    assert max(large) <= LARGE_BYTES
    assert max(set(sizes) - set(large)) <= INPUT_BYTES


def test_large_input_that_breaks_the_target_is_left_behind(tmp_path: Path) -> None:
    def target(data: bytes) -> None:
        assert len(data) <= INPUT_BYTES

    with pytest.raises(AssertionError):
        run(target, str(20 * LARGE_EVERY), 1, tmp_path, [b"seed"])
    assert len((tmp_path / "broke").read_bytes()) > INPUT_BYTES
