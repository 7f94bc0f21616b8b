"""What an exec was, and of which tree a process is: parts of the specification in events.py."""

from __future__ import annotations

from typing import Any

from collector._native import ffi, lib

from tests.reference.event_text import comm, entity_id, path, text

Map = dict[str, Any]
SCOPES = ("unresolved", "host", "pod", "container")
PARTS = ("args", "exe", "cwd", "filename", "interpreter", "environment")
ANCESTOR_BYTES = ffi.sizeof("struct pw_ancestor")
PART_BOUNDS = (
    *(lib.PW_ARGS_BYTES, lib.PW_PATH_BYTES, lib.PW_PATH_BYTES, lib.PW_FILENAME_BYTES),
    *(lib.PW_INTERPRETER_BYTES, lib.PW_ENVIRONMENT_BYTES, lib.PW_ANCESTORS * ANCESTOR_BYTES),
)


def part_lengths(record: Any) -> tuple[int, ...]:
    return (*(getattr(record, f"{part}_bytes") for part in PARTS), record.ancestors * ANCESTOR_BYTES)


def process_ids(start_ns: int, pid: int, clock: tuple[int, int]) -> Map:
    return {"pid": pid, **({"entity_id": entity_id(clock[0], start_ns, pid)} if start_ns else {})}


def entry_leader(entry: Any, clock: tuple[int, int]) -> Map:
    if not entry.entry_start_ns:
        return {}
    return {"entry_leader": process_ids(entry.entry_start_ns, entry.entry_pid, clock)}


def is_told(entry: Any, scope: int) -> bool:
    joined = entry.tree == lib.PW_TREE_ENTERED and entry.entered_by == lib.PW_ENTERED_MOUNTS
    return joined or SCOPES[scope] != "host"


def tree_map(entry: Any, scope: int, clock: tuple[int, int], session: Any = None) -> Map:
    if not is_told(entry, scope) or entry.tree not in (lib.PW_TREE_INIT, lib.PW_TREE_ENTERED):
        return {}
    if not entry.entry_start_ns:
        return {"in_init_tree": entry.tree == lib.PW_TREE_INIT, "setup": True}
    if entry.tree == lib.PW_TREE_INIT:
        return {"in_init_tree": True}
    ways = {
        lib.PW_ENTERED_CGROUP: "cgroup",
        lib.PW_ENTERED_MOUNTS: "namespaces",
        lib.PW_ENTERED_BOTH: "container",
    }
    made: Map = {
        "id": entity_id(clock[0], entry.entry_start_ns, entry.entry_pid),
        "entered": ways.get(entry.entered_by, "nothing"),
    }
    if session is not None:
        made["process_cgroup_id"] = session.process_cgroup_id
        if session.head.kind == lib.PW_SESSION_END:
            made["processes"] = session.processes
    return {"in_init_tree": False, "session": made}


def tty_map(device: int) -> Map:
    if not device:
        return {}
    numbers = {"major": device >> 20, "minor": device & 0xFFFFF}
    return {"tty": {"char_device": numbers}, "interactive": True}


def exec_parts(record: bytes) -> tuple[bytes, ...]:
    """The parts in PARTS, then the ancestors, as they stand in the record."""
    at = ffi.sizeof("struct pw_exec")
    parts = []
    for length in part_lengths(ffi.from_buffer("struct pw_exec *", record)):
        parts.append(record[at : at + length])
        at += length
    return tuple(parts)


def told_variables(environment: bytes, is_cut: bool, names: tuple[bytes, ...]) -> list[str]:
    pieces = environment.split(b"\0")[is_cut:]
    return [text(one) for one in pieces if b"=" in one and one.partition(b"=")[0] in names]


def ancestors(execed: Any, raw: bytes, clock: tuple[int, int]) -> list[Map]:
    """Up to the first program of the tree."""
    made: list[Map] = []
    for at in range(0, len(raw), ANCESTOR_BYTES):
        one = ffi.new("struct pw_ancestor *")
        ffi.memmove(one, raw[at : at + ANCESTOR_BYTES], ANCESTOR_BYTES)
        ids = {"pid": one.pid, "entity_id": entity_id(clock[0], one.start_ns, one.pid)}
        made.append({**ids, "name": comm(one.comm)})
        entry = execed.task.entry
        if (one.start_ns, one.pid) == (entry.entry_start_ns, entry.entry_pid):
            break
    return made


def exec_process(execed: Any, record: bytes, clock: tuple[int, int], variables: tuple[bytes, ...]) -> Map:
    args, exe, cwd, *_, environment, _ = exec_parts(record)
    flags = execed.head.flags
    made: Map = {}
    if exe or flags & lib.PW_EXE_CUT:
        made["executable"] = path(exe, bool(flags & lib.PW_EXE_CUT))
    if not flags & lib.PW_ARGS_UNREADABLE:
        ended = args.removesuffix(b"\0")
        made["args"] = [text(one) for one in ended.split(b"\0")] if args else []
        made["command_line"] = text(ended.replace(b"\0", b" "))
    made["args_count"] = execed.argc
    made["working_directory"] = path(cwd, bool(flags & lib.PW_CWD_CUT))
    made["group_leader"] = process_ids(execed.group_leader_start_ns, execed.group_leader_pid, clock)
    made["session_leader"] = process_ids(execed.session_leader_start_ns, execed.session_leader_pid, clock)
    made |= tty_map(execed.tty_device)
    if told := told_variables(environment, bool(flags & lib.PW_ENVIRONMENT_CUT), variables):
        made["env_vars"] = told
    return made


def exec_witness(execed: Any, record: bytes, clock: tuple[int, int]) -> Map:
    cuts = {
        "process.args": lib.PW_ARGS_CUT,
        "process.executable": lib.PW_EXE_CUT,
        "process.working_directory": lib.PW_CWD_CUT,
        "podwitness.exec.filename": lib.PW_FILENAME_CUT,
        "podwitness.exec.interpreter": lib.PW_INTERPRETER_CUT,
        "process.env_vars": lib.PW_ENVIRONMENT_CUT,
    }
    made: Map = {}
    if lineage := ancestors(execed, exec_parts(record)[-1], clock):
        made["ancestors"] = lineage
    if cut := [name for name, flag in cuts.items() if execed.head.flags & flag]:
        made["cut"] = cut
    return {**made, "exec": binary_map(execed, record) | oddities_map(execed, record)}


def binary_map(execed: Any, record: bytes) -> Map:
    return {
        **({"filename": text(exec_parts(record)[3])} if execed.head.kind == lib.PW_EXEC else {}),
        "inode": execed.inode,
        "device": f"{execed.device >> 20}:{execed.device & 0xFFFFF}",
        "mode": f"{execed.mode & 0o7777:04o}",
    }


def oddities_map(execed: Any, record: bytes) -> Map:
    """What only some execs have."""
    flags = execed.head.flags
    details: Map = {}
    if flags & lib.PW_SCRIPT:
        details["interpreter"] = text(exec_parts(record)[4])
    if flags & lib.PW_ARGS_CUT and execed.args_total_bytes:
        details["args_bytes"] = execed.args_total_bytes
    if flags & lib.PW_ENVIRONMENT_CUT and execed.environment_total_bytes:
        details["environment_bytes"] = execed.environment_total_bytes
    marks = {
        "args_unreadable": lib.PW_ARGS_UNREADABLE,
        "memfd": lib.PW_MEMFD,
        "drift": lib.PW_UPPER_LAYER,
        "deleted": lib.PW_DELETED,
    }
    details |= {name: True for name, flag in marks.items() if flags & flag}
    modes = {"setuid": 0o4000, "setgid": 0o2000}
    details |= {name: True for name, bit in modes.items() if execed.mode & bit}
    if flags & lib.PW_CREDENTIALS_CHANGED:
        details["before"] = {
            "user_id": str(execed.before.old_euid),
            "group_id": str(execed.before.old_egid),
            "capabilities_effective": f"{execed.before.old_cap_effective:016x}",
            "capabilities_permitted": f"{execed.before.old_cap_permitted:016x}",
        }
    if execed.tty_device:
        details["tty"] = comm(execed.tty)
    return details
