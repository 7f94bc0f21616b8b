"""Ids of a pod's status."""

from __future__ import annotations

import pytest

from collector.kubernetes.images import hash_of


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("docker-pullable://web@sha256:ab", "web@sha256:ab"),
        ("docker.io/library/busybox@sha256:ab", "docker.io/library/busybox@sha256:ab"),
        ("containerd://0123", "0123"),
        ("sha256:ab", "sha256:ab"),
        ("nothing", ""),
        ("", ""),
        (":", ""),
    ],
)
def test_hash_of(written: str, expected: str) -> None:
    assert hash_of(written) == expected
