"""What is said when limits of the kernel keep log files from being found at once."""

from __future__ import annotations

from collector.errors import OperatorError

# How often is looked when inotify's limits are used up: pods live for seconds, a look costs 3 us a file.
POLL_S = 1.0


class InotifyLimitReached(OperatorError):
    """The kernel gives no more watches or instances to this user, or has no room for more events."""


def no_instance(error: OSError) -> OperatorError:
    return InotifyLimitReached(
        f"inotify_init1: {error.strerror}: this user has no inotify instance left.",
        f"Directories are looked at every {POLL_S:g} s; what lives shorter is missed.",
        "Raise the sysctl fs.inotify.max_user_instances.",
    )


def no_watch(path: str) -> OperatorError:
    return InotifyLimitReached(
        f"inotify_add_watch of {path}: this user has no inotify watch left.",
        f"What can't be watched is looked at every {POLL_S:g} s instead.",
        "Raise the sysctl fs.inotify.max_user_watches.",
    )


def lost_events() -> OperatorError:
    return InotifyLimitReached(
        "inotify: more happened in log directories than the kernel queues.",
        "All of them are looked at anew; what came and went meanwhile is lost.",
        "Raise the sysctl fs.inotify.max_queued_events.",
    )


def no_descriptor(error: OSError) -> OperatorError:
    return OperatorError(
        f"open: {error.strerror}: all descriptors are in use.",
        "Files wait unopened until the next look; what is deleted meanwhile is lost.",
        "Raise the limit of open files (RLIMIT_NOFILE).",
    )
