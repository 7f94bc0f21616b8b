"""collector.records: the table of fields beside what the encoder writes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgpack
import pytest
from collector._native import ffi, lib
from hypothesis import given
from hypothesis import strategies as st

from collector.delivery.losses import Loss, entry
from collector.identity.identity import Identity
from collector.inputs.event_plans import constant_pairs, identity_fields, pack_fragment, scope_of
from collector.kubernetes.objects import Pod
from collector.kubernetes.workload import Workload
from collector.native.event_kinds import Kind
from collector.native.events import EventEncoder
from collector.notice_fields import LOSS_FIELDS
from collector.privilege_fields import HAPPENED, PRIVILEGE, REQUESTED
from collector.record_field import RecordField
from collector.records import (
    EVENT_FIELDS,
    EVERY,
    IDENTITY_FIELDS,
    TOP_LEVEL_KEYS,
    page,
)
from probes.syscalls import CALLS, REQUESTED_CALLS, Call, identity
from tests.reference import dns_messages
from tests.reference import event_records as records
from tests.reference import events as reference
from tests.reference.event_exec import ANCESTOR_BYTES

ALL = 2**16 - 1
EXECS = (lib.PW_EXEC, lib.PW_STATE_PROCESS)
SESSIONS = (lib.PW_SESSION_START, lib.PW_SESSION_END)
POD = Identity("node1", "c" * 64, "containerd", "shop", "web-1", "uid-1", "httpd", "httpd:2", "sha256:0",
               pod=Pod("shop", "web-1", "uid-1", pod_ip="10.0.0.1", labels={"app.kubernetes.io/name": "web"}),
               workload=Workload("Deployment", "web"))  # fmt: skip
ENCODER = EventEncoder(1, variables=["A"])
TASK = {
    "task_pid": 1,
    "task_tid": 2,
    "task_start_ns": 1,
    "task_parent_pid": 1,
    "task_parent_start_ns": 1,
    "task_cap_permitted": 1,
    "task_cap_inheritable": 1,
    "task_cap_ambient": 1,
}
ENTRY = {"entry_start_ns": 1, "tree": lib.PW_TREE_ENTERED, "entered_by": lib.PW_ENTERED_BOTH}


def encode(record: bytes, identity: Identity | None = POD) -> dict[str, Any]:
    known = identity or Identity("node1")
    fragment, _ = pack_fragment(constant_pairs(identity_fields(known)), scope_of(identity))
    (encoded,) = ENCODER.encode(record + bytes(-len(record) % 8), fragment)
    _, decoded = msgpack.unpackb(encoded.process.entries + encoded.network.entries)
    assert isinstance(decoded, dict)
    return decoded


TARGETS = ("ptrace", "vm-write", "clone", "kill", "oom-kill", "cgroup-attach")


def of_privilege(kind: int) -> Iterator[bytes]:
    """Each call, with all that it can have and with an errno; the tracepoint's own, if there is one."""
    target = {"target_pid": 1, "marks": lib.PW_TARGET_KNOWN} if Kind(kind).label in TARGETS else {}
    for call in CALLS:
        if kind in call.kinds:
            made = lib.PW_MADE_SET_ID if call.open_flags and kind == lib.PW_PRIVILEGE_CHMOD else 0
            yield of_call(kind, call, **{"marks": made, **target})
            yield of_call(kind, call, result=0, texts=(), marks=made)
            yield of_call(kind, call, result=0, marks=made)
    if Kind(kind).label in REQUESTED:
        call = next(call for call in CALLS if call.name in REQUESTED_CALLS and kind in call.kinds)
        made = lib.PW_MADE_SET_ID if kind == lib.PW_PRIVILEGE_CHMOD else 0
        yield of_call(kind, call, marks=lib.PW_BY_IO_URING | made)
    if kind in (lib.PW_PRIVILEGE_KILL, lib.PW_PRIVILEGE_CLONE):
        yield richest(kind, **target, arguments=[9, 1, 0, 0, 0, 0])
    if kind in (lib.PW_PRIVILEGE_OOM_KILL, lib.PW_PRIVILEGE_CGROUP_ATTACH):
        yield richest(kind, **target)


def of_call(
    kind: int,
    call: Call,
    *,
    result: int = 2**64 - 1,
    marks: int = 0,
    texts: tuple[int, ...] = (1, 1, 1),
    target_pid: int = 0,
) -> bytes:
    made = texts[: len(call.texts)]
    has_path = bool(texts) and (call.path is not None or call.descriptor is not None)
    marks |= lib.PW_PROGRAM_I386 if texts else 0
    marks |= lib.PW_TEXT_CUT if made else 0
    marks |= lib.PW_BEFORE_KNOWN if call.changes_identity and texts else 0
    return richest(
        kind,
        call=identity(call),
        result=result,
        marks=marks,
        before=[0] * lib.PW_IDENTITIES,
        after=[1] * lib.PW_IDENTITIES,
        capabilities_after=[1, 1],
        text_bytes=[*made, 0, 0, 0][:3],
        path_bytes=2 * has_path,
        target_pid=target_pid if texts else 0,
        content=b"/" * sum(made) + b"d\0" * has_path,
    )


POD_KEYS = ("pod_name", "namespace_name", "pod_id")
# Fields of connections that come from what was seen before: test_resolutions.py, test_translations.py.
NAT = {f"{end}.nat.{what}" for end in ("source", "destination") for what in ("ip", "port")}
OWNERS = ("scope", "container.id", "container.name", *(f"kubernetes.{key}" for key in POD_KEYS))
# Of targets: test_event_plans.py. A process without an entry has no session: test_events_native.py.
TARGET = {f"podwitness.privilege.target.{one}" for one in OWNERS}
PROGRAM = {
    f"process.{whose}{name}" for whose in ("", "parent.") for name in ("executable", "args", "args_count")
}
LEARNT = {"destination.domain", "podwitness.setup", *NAT, *TARGET, *PROGRAM}


def richest(kind: int, **fields: Any) -> bytes:
    """A record that has all that its kind can have."""
    if kind in EXECS:
        rich = {"flags": ALL & ~lib.PW_ARGS_UNREADABLE, "tty_device": 1, "mode": 0o6755, **TASK, **fields}
        rich |= {f"{name}_start_ns": 1 for name in ("group_leader", "session_leader")}
        rich |= {f"{name}_total_bytes": 1 for name in ("args", "environment")}
        lineage = bytes(ANCESTOR_BYTES)
        parts = (b"a\0", b"a\0", b"b\0", b"a", b"i", b"\0A=b\0", lineage)
        return entered(records.exec_record(*parts, kind=kind, **rich))
    if kind in (lib.PW_FORK, lib.PW_EXIT, *SESSIONS):
        more = {"duration_ns": 1, "status": 0x89} if kind == lib.PW_EXIT else {}
        if kind in SESSIONS:
            more = {"duration_ns": 1, "processes": 1} if kind == lib.PW_SESSION_END else {"tty_device": 1}
        return entered(records.record(kind, **(TASK | more | fields)))
    if kind == lib.PW_DNS:
        content = dns_messages.answer("a.b", [dns_messages.resource(b"\1x\0", dns_messages.A, b"abcd")])
        asked = {"payload_bytes": len(content), "payload_total_bytes": len(content) + 1, "took_ns": 5}
        owner = {"owner_start_ns": 1, "owner_pid": 1, "net_cookie": 1, "protocol": 17}
        return entered(records.record(kind, content=content, **(asked | owner | fields)))
    if kind in (lib.PW_BIND, lib.PW_STATE_BOUND):
        bound = {"owner_start_ns": 1, "owner_pid": 1, "net_cookie": 1, "protocol": 17}
        return entered(records.record(kind, **(bound | fields)))
    if lib.PW_FLOW_START <= kind <= lib.PW_FLOW_END:
        flow = {"first_ns": 1, "last_ns": 2,
                "owner_start_ns": 1, "owner_pid": 1, "net_cookie": 1, "flags": ALL,
                "entry_start_ns": 1, "entry_way": ENTRY["tree"] | ENTRY["entered_by"] << 4,
                "protocol": 17}  # fmt: skip
        return records.record(kind, **(flow | fields))
    if Kind(kind).label in PRIVILEGE:
        return entered(records.record(kind, **(TASK | fields)))
    tcp = {"net_cookie": 1,
           "duration_ns": 1, "owner_start_ns": 1, "owner_pid": 1, "error": 1, "rtt_us": 1, "retransmits": 1,
           "bytes_retransmitted": 1, "bytes_acked": 1, "role": lib.PW_CLIENT, "flags": ALL}  # fmt: skip
    return entered(records.record(kind, **(tcp | fields)))


def entered(record: bytes) -> bytes:
    """The same of a process that came in from outside."""
    made = bytearray(record)
    struct = ffi.from_buffer(f"struct {reference.STRUCT_OF_KIND[made[0]]} *", made)
    entry = struct.task.entry if hasattr(struct, "task") else struct.entry
    for name, value in ENTRY.items():
        setattr(entry, name, value)
    return bytes(made)


def samples(kind: int) -> Iterator[dict[str, Any]]:
    """Records that together have all that the kind can have, and the poorest."""
    if Kind(kind).label in PRIVILEGE:
        yield from (encode(record) for record in of_privilege(kind))
        rarest: dict[str, Any] = {"target_pid": int(Kind(kind).label in HAPPENED), "task_loginuid": 2**32 - 1}
        rarest["task_audit_session"] = 2**32 - 1
        call = next((call for call in CALLS if call.kind == kind), None)
        yield encode(records.record(kind, call=identity(call) if call else 0, **rarest), None)
        return
    yield encode(richest(kind))
    if kind in EXECS:
        yield encode(richest(kind, flags=lib.PW_ARGS_UNREADABLE))
    if kind == lib.PW_EXIT:
        yield encode(richest(kind, status=0))
    if kind == lib.PW_DNS:
        yield encode(richest(kind, payload_bytes=1))
    if lib.PW_FLOW_START <= kind <= lib.PW_FLOW_END:
        yield encode(richest(kind, protocol=1, flags=0))
    poorest: dict[str, Any] = {}
    if not lib.pw_kind_is_flow(kind):
        poorest = {"task_loginuid": 2**32 - 1, "task_audit_session": 2**32 - 1}
    elif kind >= lib.PW_FLOW_START:
        poorest = {"protocol": 17 if kind == lib.PW_DNS else 1, "flags": lib.PW_KERNEL_SOCKET}
    yield encode(records.record(kind, **poorest), None)


OBJECTS = {field.name for field in IDENTITY_FIELDS if field.type == "object"}


def leaves(record: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in record.items():
        if isinstance(value, dict) and f"{prefix}{key}" not in OBJECTS:
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def names(fields: tuple[RecordField, ...], kind: str, *, only_always: bool = False) -> set[str]:
    return {field.name for field in fields if kind in field.kinds and (field.always or not only_always)}


@pytest.mark.parametrize("kind", records.SHIPPED)
def test_table_has_every_field_of_a_kind_and_no_other(kind: int) -> None:
    label = Kind(kind).label
    table = (*EVENT_FIELDS, *IDENTITY_FIELDS)
    found = [{name for name, _ in leaves(sample)} for sample in samples(kind)]
    assert set.union(*found) | LEARNT == names(table, label) | LEARNT
    assert set.intersection(*found) == names(table, label, only_always=True)


def is_of_type(value: Any, type_name: str) -> bool:
    if type_name.endswith("[]"):
        return isinstance(value, list) and all(is_of_type(one, type_name[:-2]) for one in value)
    if type_name == "object":
        return isinstance(value, dict)
    if type_name == "boolean":
        return isinstance(value, bool)
    if type_name == "nested":
        return isinstance(value, dict)
    return isinstance(value, int if type_name == "long" else str) and not isinstance(value, bool)


def in_table(kind: int) -> st.SearchStrategy[bytes]:
    """Of a privilege only what the probes make: a call's own arguments, targets where there are any."""
    if Kind(kind).label in PRIVILEGE:
        return st.sampled_from(list(of_privilege(kind)))
    return records.filled(kind)


@given(st.sampled_from(records.SHIPPED).flatmap(in_table))
def test_values_are_of_the_tables_types(record: bytes) -> None:
    encoded = encode(record)  # of a pod: all are shipped
    types = {
        field.name: field.type
        for field in (*EVENT_FIELDS, *IDENTITY_FIELDS)
        if encoded["event"]["action"] in field.kinds
    }
    for name, value in leaves(encoded):
        assert is_of_type(value, types[name]), name


def test_no_kind_says_two_things_of_a_field() -> None:
    seen = [(field.name, kind) for field in (*EVENT_FIELDS, *IDENTITY_FIELDS) for kind in field.kinds]
    assert len(seen) == len(set(seen))
    assert set(EVERY) == {Kind(kind).label for kind in records.SHIPPED}


def test_losses_have_the_fields_of_the_table() -> None:
    here = Loss("ring_full_exec", 3, 0, "kernel.process", source="ebpf.0")
    file = Loss("retry_limit", 3, 9, "kube.a", "forward.0", "tail.0", "/var/log/a", 0, 9)
    found = []
    for loss in (here, file):
        _, record = msgpack.unpackb(entry(loss, "node1", 0))
        found.append({name for name, _ in leaves(record)})
    assert set.union(*found) == names(LOSS_FIELDS, "loss")
    assert set.intersection(*found) == names(LOSS_FIELDS, "loss", only_always=True)


def test_top_level_keys_are_those_that_the_encoder_writes_itself() -> None:
    identity = {field.name.partition(".")[0] for field in IDENTITY_FIELDS}
    written = {key for kind in records.SHIPPED for sample in samples(kind) for key in sample}
    assert written - identity == TOP_LEVEL_KEYS
    assert not identity & TOP_LEVEL_KEYS


def test_page_names_every_field() -> None:
    shown = page()
    for field in (*EVENT_FIELDS, *IDENTITY_FIELDS, *LOSS_FIELDS):
        assert f"| `{field.name}` |" in shown
