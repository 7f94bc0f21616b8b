"""collector.inputs.watched_devices: what is asked of a device, and how often."""

from __future__ import annotations

from pathlib import Path

import pytest

from collector.inputs import watched_devices
from collector.inputs.watched_devices import WatchedDevices


@pytest.mark.parametrize("tells", [True, False])
def test_each_device_is_asked_once(monkeypatch: pytest.MonkeyPatch, tells: bool) -> None:
    asked: list[str] = []

    def tells_all(path: str) -> bool:
        asked.append(path)
        return tells

    monkeypatch.setattr(watched_devices, "tells_all", tells_all)
    devices = WatchedDevices()
    assert [devices.tell_all(device, path) for device, path in ((1, "/a"), (1, "/b"), (2, "/c"))] == [
        tells
    ] * 3
    assert asked == ["/a", "/c"]


def test_a_device_that_could_not_be_asked_is_asked_again(tmp_path: Path) -> None:
    devices = WatchedDevices()
    assert not devices.tell_all(1, str(tmp_path / "missing"))
    assert devices.tell_all(1, "/dev/shm")
