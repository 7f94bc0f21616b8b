"""The configurations that are deployed are ones that podwitness runs."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.deploy.manifests import BASE, ROOT, container

FILES = [BASE / "fluent-bit.conf", BASE.parent / "kind/fluent-bit.conf", ROOT / "collector/default.conf"]
FILES += [BASE.parent / "events/fluent-bit.conf", ROOT / "deploy/aggregator.conf"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_passes_a_dry_run(path: os.PathLike[str]) -> None:
    """With the variables that the DaemonSet sets, and no others of this machine."""
    variables = {each["name"]: each.get("value", "of-the-node") for each in container()["env"]}
    command = [sys.executable, "-m", "collector", "-c", str(path), "--dry-run"]
    done = subprocess.run(command, env=variables, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
