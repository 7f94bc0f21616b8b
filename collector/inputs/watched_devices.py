"""Of which devices inotify tells everything; asked once of each."""

from __future__ import annotations

from collector.native.files import tells_all


class WatchedDevices:
    """One that could not be asked is asked again."""

    def __init__(self) -> None:
        self._tell_all: dict[int, bool] = {}

    def tell_all(self, device: int, path: str) -> bool:
        """Whether it does of the device, where the path is. False where that can't be told."""
        found = self._tell_all.get(device)
        if found is None:
            try:
                found = self._tell_all[device] = tells_all(path)
            except OSError:
                return False
        return found
