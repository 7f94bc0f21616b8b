"""The events: by what names they are asked for, which hooks tell them, at what cost, with which fields.

An event is one value of `event.action` of one subject. Its hooks stand in probes/catalog.py, its fields in
collector/records.py; here both are looked up by event.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from collector.native.event_kinds import Kind
from collector.record_field import RecordField
from collector.records import EVENT_FIELDS, IDENTITY_FIELDS
from probes.catalog import HOOKS, Cost, Hook, RecordKind
from probes.syscalls import REQUEST_KINDS

TRACED = ("process", "network", "flow", "privilege", "syscalls")  # subjects that can be asked for
# What was there before the probes is of the subject of what happens.
STATES = {
    Kind.RUNNING: "process",
    Kind.LISTENING: "network",
    Kind.CONNECTED: "network",
    Kind.BOUND: "flow",
}
# By the collector, out of what the hooks of another kind count.
MADE_OF = {Kind.FLOW_UPDATE: Kind.FLOW_START}
# Hooks that tell more of a kind than its own do, on kernels that have them.
ALSO_BY = {"io_uring_submit_req": REQUEST_KINDS}
FOR_THE_COLLECTOR = frozenset({Kind.FLOW_CLOSED})
# Told by the netlink witness only, which sees no calls.
OF_NETLINK = (("process", "change-uid"), ("process", "change-gid"))


_SIDES = re.compile(r"\b(before|after)\..*")


class Event(NamedTuple):
    subject: str
    action: str  # value of `event.action`
    kind: Kind | None  # None: no record of the probes

    @property
    def name(self) -> str:
        return f"{self.subject}.{self.action}"

    @property
    def hooks(self) -> tuple[Hook, ...]:
        """Those that make its records; none: it comes from netlink."""
        if self.kind is None:
            return ()
        subject = "state" if self.kind in STATES else self.subject
        kind = RecordKind(MADE_OF.get(self.kind, self.kind))
        return tuple(
            hook
            for hook in HOOKS
            if hook.subject == subject and kind in (*hook.kinds, *ALSO_BY.get(hook.tracepoint, ()))
        )

    @property
    def since(self) -> tuple[int, int] | None:
        """Lowest kernel."""
        return min((hook.since for hook in self.hooks), default=None)

    @property
    def cost(self) -> Cost | None:
        """Of the hook that runs most often."""
        classes = list(Cost)
        return max((hook.cost for hook in self.hooks), key=classes.index, default=None)

    @property
    def fields(self) -> tuple[RecordField, ...]:
        """What its records have, or may have where they are not `always` there."""
        return tuple(field for field in (*EVENT_FIELDS, *IDENTITY_FIELDS) if self.action in field.kinds)


def _subjects_of(kind: Kind) -> tuple[str, ...]:
    if kind in STATES:
        return (STATES[kind],)
    if kind in FOR_THE_COLLECTOR:
        return ()
    made = RecordKind(MADE_OF.get(kind, kind))
    return tuple(hook.subject for hook in HOOKS if made in hook.kinds)


def _events() -> Iterator[Event]:
    for subject in TRACED:
        for kind in Kind:
            if subject in _subjects_of(kind):
                yield Event(subject, kind.label, kind)
        for of, action in OF_NETLINK:
            if of == subject:
                yield Event(subject, action, None)


EVENTS = tuple(_events())


def named(word: str) -> tuple[Event, ...]:
    """Events of a subject, or with a name or an action; none where there is no such name."""
    if word in TRACED:
        return tuple(event for event in EVENTS if event.subject == word)
    return tuple(event for event in EVENTS if word in (event.name, event.action))


def chosen(words: Iterable[str]) -> tuple[Event, ...]:
    """What names ask for, but for those behind a `-`; in the order of the table."""
    asked = set[Event]()
    excluded = set[Event]()
    for word in words:
        (excluded if word.startswith("-") else asked).update(named(word.removeprefix("-")))
    return tuple(event for event in EVENTS if event in asked - excluded)


_INTRODUCTION = f"""\
# Events

Printed by `make docs` from collector/catalog.py.

`Trace` of the input `ebpf` takes subjects ({", ".join(f"`{subject}`" for subject in TRACED)}) and
single events, by name or by action (`event.action`), separated by spaces or commas. With a `-` in front, a
subject or an event is left out of what else is asked for, in whatever order; with nothing but these, out of
the default.

| `Trace` | what is told |
|---|---|
| `process, network, -fork` | both subjects, but no forks |
| `process network syscalls.ptrace` | both subjects, and of all calls ptrace(2) |
| `kill` | `privilege.kill` and `syscalls.kill` |
| `-process.exit` | the default without ends of processes |

What is left out is not sent, counted or told as lost. Nor does it cost: a hook that nothing is asked of is
not attached, a call that tells nothing is not looked at, and of a hook that others need no record is made.
There are these exceptions. As long as a process event is asked for, what keeps trees and sessions stays
attached. With `Program` execs, forks and exits go as far as the collector, which learns from them what a
process runs; so does DNS, which gives names to addresses, if events with addresses are told; and listen and
unlisten, which a heartbeat is made of, if TCP is. What was there at the start is looked for all the same,
as the probes learn from it.

**Cost** says how often the hook runs: rarely, or at each process, connection, system call or packet of the
node. **From** is the lowest kernel that has the hook. **Fields**: those of the event beside what all of its
tag have, which stand below; in italics those that a record may lack. What they mean is told by records.md.
"""
_CALLED = {None: "-"} | {cost: cost.value for cost in Cost}


def _shown(fields: Iterable[RecordField]) -> str:
    """`before.uid`, `before.gid` and so on are one."""
    always: dict[str, bool] = {}
    for field in fields:
        name = _SIDES.sub(r"\1.*", field.name)
        always[name] = always.get(name, False) or field.always
    return ", ".join(f"`{name}`" if is_there else f"*`{name}`*" for name, is_there in always.items())


def _row(event: Event, shared: frozenset[str]) -> str:
    hooks = ", ".join(f"`{hook.tracepoint}`" for hook in event.hooks) or "none: netlink only"
    since = ".".join(map(str, event.since)) if event.since else "-"
    own = _shown(field for field in event.fields if field.name not in shared)
    return f"| `{event.name}` | {hooks} | {_CALLED[event.cost]} | {since} | {own} |"


def _of_tag(tag: str) -> Iterator[str]:
    """A part of the page."""
    events = [event for event in EVENTS if (event.kind.subject if event.kind else event.subject) == tag]
    described = [event for event in events if event.kind is not None]
    shared = frozenset.intersection(*(frozenset(field.name for field in one.fields) for one in described))
    yield from (f"## Tag `{tag}`", "", "| event | hooks | cost | from | fields |", "|---|---|---|---|---|")
    yield from (_row(event, shared) for event in events)
    yield from ("", "All of them have:", "")
    yield _shown(field for field in described[0].fields if field.name in shared)
    yield ""


def page() -> str:
    """docs/events.md."""
    return "\n".join([_INTRODUCTION, *_of_tag("process"), *_of_tag("network")])
