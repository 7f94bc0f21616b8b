"""What is left to attach and to report where single events of a subject are not asked for."""

from __future__ import annotations

from collections.abc import Collection

from probes.catalog import Hook, RecordKind, hooks_of
from probes.syscalls import IDENTITY_KINDS, REQUEST_KINDS

Event = tuple[str, RecordKind]  # subject and kind

_OF_FLOWS: tuple[Event, ...] = tuple(
    ("flow", kind)
    for kind in (RecordKind.FLOW_START, RecordKind.FLOW_UPDATE, RecordKind.FLOW_END, RecordKind.DNS)
)
# Who reads or writes an accepted socket first: told when it ends, and with DNS by TCP.
_OF_WORKERS: tuple[Event, ...] = (("network", RecordKind.TCP_CLOSE), ("flow", RecordKind.DNS))
# Whatever is asked for of their subject: they keep what others tell of trees, sessions and cgroups.
KEEP_TREES = ("sched_process_exec", "sched_process_fork", "sched_process_exit", "bpf_iter_task")
# Events, beside a hook's own, whose records say less without it or are not made.
SERVES: dict[str, tuple[Event, ...]] = {
    "sched_prepare_exec": (("process", RecordKind.EXEC),),
    "tcp_rcv_space_adjust": _OF_WORKERS,
    "tcp_sendmsg_locked": _OF_WORKERS,
    "sock_send_length": _OF_WORKERS,
    "cgroup_skb_egress": _OF_FLOWS,
    "cgroup_skb_ingress": _OF_FLOWS,
    "cgroup_sock_release": _OF_FLOWS,
    "cgroup_post_bind4": _OF_FLOWS,
    "cgroup_post_bind6": _OF_FLOWS,
    "io_uring_submit_req": tuple(("syscalls", kind) for kind in REQUEST_KINDS),
    "sys_enter": tuple(("syscalls", kind) for kind in IDENTITY_KINDS),
}


def hooks_for(subjects: Collection[str], off: Collection[Event] = ()) -> tuple[Hook, ...]:
    """Of `subjects`, those that an event is told by. Raises KeyError as hooks_of()."""
    hooks = hooks_of(subjects)
    return tuple(hook for hook in hooks if _is_needed(hook, subjects, off)) if off else hooks


def _is_needed(hook: Hook, subjects: Collection[str], off: Collection[Event]) -> bool:
    if hook.tracepoint in KEEP_TREES:
        return True
    own = [(hook.subject, kind) for kind in hook.kinds if kind is not RecordKind.FLOW_CLOSED]
    served = [event for event in SERVES.get(hook.tracepoint, ()) if event[0] in subjects]
    return any(event not in off for event in (*own, *served))


def are_packets_seen(subjects: Collection[str], off: Collection[Event] = ()) -> bool:
    """Whether flows are counted and DNS is read: not so that sockets are bound is all that is asked for."""
    return "flow" in subjects and not set(_OF_FLOWS) <= set(off)


def kinds_off(subject: str, off: Collection[Event]) -> frozenset[RecordKind]:
    return frozenset(kind for of, kind in off if of == subject)


def made_kinds(hook: Hook, off: Collection[Event]) -> tuple[RecordKind, ...]:
    """The kinds of records that the hook makes."""
    return tuple(kind for kind in hook.kinds if (hook.subject, kind) not in off)


def off_flags(subject: str, off: Collection[Event]) -> tuple[str, ...]:
    """For the compiler: bits by kind, in two words of 64. None where nothing is off."""
    bits = sum(1 << kind for kind in kinds_off(subject, off))
    words = (bits & (1 << 64) - 1, bits >> 64)
    return tuple(f"-DPW_OFF_{number}={word:#x}ull" for number, word in enumerate(words)) if bits else ()
