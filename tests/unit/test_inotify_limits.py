"""Each limit that is used up is named, with what to raise (collector.inputs.inotify_limits)."""

from __future__ import annotations

import errno
import os

import pytest

from collector.errors import OperatorError
from collector.inputs import inotify_limits
from collector.inputs.inotify_limits import InotifyLimitReached

USED_UP = OSError(errno.EMFILE, os.strerror(errno.EMFILE))


@pytest.mark.parametrize(
    ("said", "limit"),
    [
        (inotify_limits.no_instance(USED_UP), "fs.inotify.max_user_instances"),
        (inotify_limits.no_watch("/var/log"), "fs.inotify.max_user_watches"),
        (inotify_limits.lost_events(), "fs.inotify.max_queued_events"),
        (inotify_limits.no_descriptor(USED_UP), "RLIMIT_NOFILE"),
    ],
)
def test_what_is_to_be_raised_is_named(said: OperatorError, limit: str) -> None:
    assert limit in said.remedy
    assert said.problem
    assert said.consequence
    assert isinstance(said, InotifyLimitReached) == limit.startswith("fs.inotify")
