"""Files that are not read because the outputs have no room for what they say: they wait on disk."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from collector.inputs.follow import FollowedFile

if TYPE_CHECKING:
    from collector.plugin import Intake

# How soon a file is asked for again whether it is about to vanish; its turn comes at once when there is room.
LOOK_S = 1.0


class HeldBack:
    """Files in the order in which they found no room. `wake` is called when some may find it now."""

    def __init__(self, source: str, intake: Intake, wake: Callable[[], None]) -> None:
        self._source = source
        self._intake = intake
        self._wake = wake
        self._files: dict[FollowedFile, None] = {}
        self._has_news = False
        intake.room_listeners.append(self.room_came)

    def takes(self, tag: str, file: FollowedFile, *, is_full: bool = False) -> bool:
        """Whether the file may be read now; if not, it is held back. `is_full`: there is no room beside the
        outputs', either."""
        if not is_full and self._intake.takes(self._source, tag, file.vanishing):
            self._files.pop(file, None)
            return True
        self._files[file] = None
        return False

    def news(self) -> Iterable[FollowedFile]:
        """Those that are worth a look."""
        if not self._has_news:
            return ()
        self._has_news = False
        found = tuple(self._files)
        self._files.clear()
        return found

    def forget(self, file: FollowedFile) -> None:
        """It is closed."""
        self._files.pop(file, None)

    def close(self) -> None:
        self._intake.room_listeners.remove(self.room_came)

    def room_came(self) -> None:
        """Some of them may find it now."""
        if self._files and not self._has_news:
            self._has_news = True
            self._wake()
