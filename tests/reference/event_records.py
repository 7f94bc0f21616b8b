"""Records of probes/events.h, made by value or drawn by hypothesis."""

from __future__ import annotations

from typing import Any

from collector._native import ffi, lib
from hypothesis import strategies as st

from probes.syscalls import CALLS
from tests.reference import dns_messages
from tests.reference.event_exec import ANCESTOR_BYTES, PARTS
from tests.reference.events import STRUCT_OF_KIND

CONTROL = (lib.PW_CGROUP_MKDIR, lib.PW_CGROUP_RMDIR)
SHIPPED = tuple(kind for kind in STRUCT_OF_KIND if kind not in (*CONTROL, lib.PW_FLOW_CLOSED))


def record(kind: int, *, content: bytes = b"", **fields: Any) -> bytes:
    """A record of a kind. `fields` are members, those of `task` with `task_` in front; `content` the tail."""
    name = STRUCT_OF_KIND[kind]
    size = ffi.sizeof(f"struct {name}")
    made = bytearray(size + len(content))
    made[size:] = content
    struct = ffi.from_buffer(f"struct {name} *", made)
    struct.head.kind = kind
    struct.head.record_bytes = len(made)
    for field, value in fields.items():
        if field in ("flags", "time_ns", "cgroup_id", "record_bytes"):
            setattr(struct.head, field, value)
        elif field.startswith("task_"):
            setattr(struct.task, field.removeprefix("task_"), value)
        else:
            setattr(struct, field, value)
    return bytes(made)


def exec_record(
    args: bytes = b"",
    exe: bytes = b"",
    cwd: bytes = b"",
    filename: bytes = b"",
    interpreter: bytes = b"",
    environment: bytes = b"",
    ancestors: bytes = b"",
    *,
    kind: int = lib.PW_EXEC,
    **fields: Any,
) -> bytes:
    """An exec, or another with its parts; paths are components, leaf first, NUL ended."""
    parts = (args, exe, cwd, filename, interpreter, environment)
    lengths = {f"{name}_bytes": len(part) for name, part in zip(PARTS, parts, strict=True)}
    lengths["ancestors"] = len(ancestors) // ANCESTOR_BYTES
    return record(kind, content=b"".join(parts) + ancestors, **{**lengths, **fields})


def cgroup_record(kind: int, path: bytes, **fields: Any) -> bytes:
    return record(kind, content=path + b"\0", path_bytes=len(path), **fields)


# Bytes that matter: text, NUL, backslashes, every length class of UTF-8, what is almost UTF-8.
_PIECES = (
    *(b"a", b"/usr/bin", b"\0", b"\0\0", b"\\", b"\\x41", b"\x1b[31m", b"x" * 40),
    *(b"\xc3\xa4", b"\xe2\x82\xac", b"\xf0\x9f\x90\x8b"),
    *(b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xe2\x82", b"\xf4\x90\x80\x80"),
)
hostile_text = st.lists(st.sampled_from(_PIECES) | st.binary(max_size=12), max_size=12).map(b"".join)
long_text = st.builds(lambda one, times: (one * times)[:4096], hostile_text, st.integers(1, 400))
any_text = hostile_text | long_text

_EDGES = {bits: (0, 1, 127, 128, 255, 256, 2 ** (bits - 1), 2**bits - 1) for bits in (16, 32, 64)}


def numbers(bits: int) -> st.SearchStrategy[int]:
    edges = [value for value in _EDGES[bits] if value < 2**bits]
    return st.sampled_from(edges) | st.integers(0, 2**bits - 1)


@st.composite
def filled(draw: st.DrawFn, kind: int) -> bytes:
    """A record of a kind with every fixed member drawn; well-formed."""
    name = STRUCT_OF_KIND[kind]
    size = ffi.sizeof(f"struct {name}")
    made = bytearray(draw(st.binary(min_size=size, max_size=size)))
    struct = ffi.from_buffer(f"struct {name} *", made)
    if name == "pw_tcp":
        _draw_tcp(draw, struct)
        _draw_entry(draw, struct.entry)
    elif name in ("pw_flow", "pw_bind", "pw_dns"):
        _draw_flow(draw, struct)
    else:
        _draw_task(draw, struct)
        _draw_entry(draw, struct.task.entry)
    if name == "pw_privilege":
        content = _draw_privilege(draw, struct)
    elif name == "pw_dns":
        content = draw(dns_messages.payloads)
        struct.payload_bytes = draw(st.just(len(content)) | st.integers(0, len(content)))
        struct.payload_total_bytes = struct.payload_bytes + draw(st.sampled_from((0, 0, 5)))
    else:
        content = _draw_parts(draw, struct) if name == "pw_exec" else draw(st.binary(max_size=16))
    if name == "pw_session":
        struct.tty_device, struct.processes = draw(numbers(32)), draw(numbers(32))
    struct.head.kind = kind
    struct.head.flags = draw(numbers(16))
    struct.head.record_bytes = size + len(content)
    struct.head.time_ns = draw(numbers(64))
    return bytes(made) + content


def _draw_entry(draw: st.DrawFn, entry: Any) -> None:
    entry.entry_start_ns = draw(numbers(64))
    entry.tree = draw(st.integers(0, 3))
    entry.entered_by = draw(st.integers(0, 4))


VARIABLES = (b"PATH", b"SPO_EXEC_REQUEST_UID")
_environment = st.lists(
    st.builds(lambda name, value: name + b"=" + value, st.sampled_from((*VARIABLES, b"PATHS", b"")), any_text)
    | hostile_text,
    max_size=8,
).map(
    lambda strings: b"".join(one.replace(b"\0", b"") + b"\0" for one in strings)[: lib.PW_ENVIRONMENT_BYTES]
)


def _draw_task(draw: st.DrawFn, struct: Any) -> None:
    task = struct.task
    for member in ("start_ns", "parent_start_ns"):
        setattr(task, member, draw(numbers(64)))
    for member in ("pid", "parent_pid", "uid", "euid", "loginuid"):
        setattr(task, member, draw(numbers(32)))
    if draw(st.booleans()):
        task.tid = task.pid
    ffi.memmove(task.comm, draw(hostile_text)[:16].ljust(16, b"\0"), 16)
    if struct.head.kind == lib.PW_EXIT:
        struct.status = draw(st.sampled_from((0, 256, 9, 139, 34, 127)) | numbers(32))


def _draw_parts(draw: st.DrawFn, struct: Any) -> bytes:
    args, exe, cwd = draw(any_text), draw(any_text), draw(any_text)
    filename, interpreter = draw(hostile_text)[:256], draw(hostile_text)[:256]
    parts = (args, exe, cwd, filename, interpreter, draw(_environment))
    for name, part in zip(PARTS, parts, strict=True):
        setattr(struct, f"{name}_bytes", len(part))
    struct.ancestors = draw(st.integers(0, lib.PW_ANCESTORS))
    size = struct.ancestors * ANCESTOR_BYTES
    lineage = bytearray(draw(st.binary(min_size=size, max_size=size)))
    if lineage and draw(st.booleans()):  # the first program of the tree is among them
        struct.task.entry.entry_start_ns = int.from_bytes(lineage[:8], "little") or 1
        struct.task.entry.entry_pid = int.from_bytes(lineage[8:12], "little")
    struct.tty_device = draw(st.sampled_from((0, 136 << 20 | 3)) | numbers(32))
    return b"".join(parts) + bytes(lineage) + draw(st.binary(max_size=8))


_groups = st.lists(st.sampled_from((b"\0\0", b"\0\1", b"\xff\xff", b"\x20\x01")), min_size=8, max_size=8)
_addresses = _groups.map(b"".join) | st.binary(min_size=4, max_size=4).map(
    lambda last: bytes(10) + b"\xff\xff" + last
)


def _draw_flow(draw: st.DrawFn, flow: Any) -> None:
    """Of a bind, or of DNS, what it has of them."""
    members = dir(flow)
    for member in {"local_address", "remote_address"} & set(members):
        ffi.memmove(getattr(flow, member), draw(_addresses), 16)
    for member in ("owner_start_ns", "net_cookie"):
        setattr(flow, member, draw(numbers(64)))
    flow.owner_pid = draw(numbers(32))
    flow.family = draw(st.sampled_from((2, 10)) | numbers(16))
    flow.protocol = draw(st.sampled_from((1, 6, 17, 58)) | st.integers(0, 255))
    ffi.memmove(flow.comm, draw(hostile_text)[:16].ljust(16, b"\0"), 16)
    if "payload_bytes" in members:
        flow.is_ingress, flow.owner_source = draw(st.integers(0, 1)), draw(st.integers(0, 6))
        flow.took_ns = draw(numbers(64))
    if "first_ns" not in members:
        return
    for member in ("first_ns", "last_ns", "bytes_sent", "packets_received"):
        setattr(flow, member, draw(numbers(64)))
    flow.local_port, flow.remote_port = draw(st.sampled_from((0, 3, 8, 128))), draw(numbers(16))
    flow.is_ingress = draw(st.integers(0, 1))
    flow.owner_source, flow.end_cause = draw(st.integers(0, 6)), draw(st.integers(0, 6))


def _draw_privilege(draw: st.DrawFn, struct: Any) -> bytes:
    """Half of the records are of a call, with results that are none, an errno, or neither."""
    struct.call = draw(st.just(0) | st.integers(1, len(CALLS)) | numbers(16))
    struct.result = draw(
        st.sampled_from((0, 3)) | st.integers(1, 140).map(lambda one: 2**64 - one) | numbers(64)
    )
    for place in range(lib.PW_ARGUMENTS):
        struct.arguments[place] = draw(
            st.integers(0, 70) | st.sampled_from((0x20000, 0xC0ED0001)) | numbers(64)
        )
    struct.marks = draw(st.integers(0, 511))
    if draw(st.booleans()):
        ffi.memmove(struct.after, struct.before, ffi.sizeof(struct.before))
        struct.after[draw(st.integers(0, lib.PW_IDENTITIES - 1))] = draw(numbers(32))
    ffi.memmove(struct.target_comm, draw(hostile_text)[:16].ljust(16, b"\0"), 16)
    struct.target_pid = draw(numbers(32))
    texts = [draw(hostile_text)[: lib.PW_TEXT_BYTES] for _ in range(3)]
    for place, one in enumerate(texts):
        struct.text_bytes[place] = len(one)
    path = draw(any_text)[: lib.PW_PATH_BYTES]
    struct.path_bytes = len(path)
    return b"".join(texts) + path + draw(st.binary(max_size=8))


def _draw_tcp(draw: st.DrawFn, tcp: Any) -> None:
    for member in ("local_address", "remote_address"):
        ffi.memmove(getattr(tcp, member), draw(_addresses), 16)
    for member in (
        *("owner_start_ns", "net_cookie", "duration_ns", "bytes_sent", "bytes_retransmitted", "bytes_acked"),
    ):
        setattr(tcp, member, draw(numbers(64)))
    for member in ("owner_pid", "owner_uid", "rtt_us", "retransmits", "backlog"):
        setattr(tcp, member, draw(numbers(32)))
    tcp.family = draw(st.sampled_from((2, 10)) | numbers(16))
    tcp.error = draw(st.sampled_from((0, 111, 104, 110, 512)) | numbers(16))
    tcp.role = draw(st.integers(0, 5))
    tcp.owner_source = draw(st.integers(0, 6))
    ffi.memmove(tcp.comm, draw(hostile_text)[:16].ljust(16, b"\0"), 16)


@st.composite
def truncated(draw: st.DrawFn) -> bytes:
    """Records that lie about their lengths or kind, or are cut."""
    made = bytearray(draw(st.sampled_from(SHIPPED).flatmap(filled)))
    head = ffi.from_buffer("struct pw_head *", made)
    change = draw(st.sampled_from(("cut", "kind", "length", "part")))
    if change == "kind":
        head.kind = draw(st.integers(0, lib.PW_KINDS + 4))
    elif change == "length":
        head.record_bytes = draw(numbers(32))
    elif change == "part" and head.kind == lib.PW_EXEC:
        member = draw(st.sampled_from((*(f"{part}_bytes" for part in PARTS), "ancestors")))
        setattr(ffi.from_buffer("struct pw_exec *", made), member, draw(numbers(16)))
    else:
        return bytes(made[: draw(st.integers(0, len(made)))])
    return bytes(made)
