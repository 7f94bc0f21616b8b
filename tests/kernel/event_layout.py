"""The records of probes/events.h for tests: structs and enums are read out of the header, none is listed."""

from __future__ import annotations

import ctypes
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

HEADER = Path(__file__).parents[2] / "probes" / "events.h"

SCALARS: dict[str, type[Any]] = {
    "__u8": ctypes.c_uint8,
    "__u16": ctypes.c_uint16,
    "__u32": ctypes.c_uint32,
    "__u64": ctypes.c_uint64,
    "char": ctypes.c_char,
}
STRUCTS_OF_STATE = {
    "PW_STATE_PROCESS": "pw_exec",
    "PW_STATE_LISTENER": "pw_tcp",
    "PW_STATE_CONNECTION": "pw_tcp",
    "PW_STATE_BOUND": "pw_bind",
}
TAIL_BYTES = "tail"  # attribute of a decoded record: what follows the fixed part


class EventLayout:
    """`structs` and `enums` by name, `sizes` as asserted in the header."""

    def __init__(self, text: str) -> None:
        text = re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)
        self.constants = {name: int(value) for name, value in re.findall(r"#define (PW_\w+) (\d+)", text)}
        self.enums = {
            name: self._enum(body) for name, body in re.findall(r"enum (\w+) \{(.*?)\};", text, re.DOTALL)
        }
        self.structs: dict[str, type[ctypes.Structure]] = {}
        for name, body in re.findall(r"struct (\w+) \{(.*?)\n\};", text, re.DOTALL):
            self.structs[name] = self._struct(name, body)
        self.sizes = {name: int(size) for name, size in re.findall(r"PW_SIZE\((\w+), (\d+)\)", text)}

    @staticmethod
    def _enum(body: str) -> dict[str, int]:
        return {name: eval(value) for name, value in re.findall(r"(\w+) = ([\d <]+)", body)}

    def _struct(self, name: str, body: str) -> type[ctypes.Structure]:
        fields: list[tuple[str, Any]] = []
        for of_struct, type_name, member, array in re.findall(r"(struct )?(\w+) (\w+)(\[\w*\])?;", body):
            if array == "[]":
                continue  # what it holds is in the tail
            field: Any = self.structs[type_name] if of_struct else SCALARS[type_name]
            length = array.strip("[]")
            if length:
                field = field * (int(length) if length.isdigit() else self.constants[length])
            fields.append((member, field))
        return type(name, (ctypes.LittleEndianStructure,), {"_fields_": fields})

    def struct_of(self, kind: int) -> type[ctypes.Structure]:
        """By name: PW_TCP_CLOSE is a pw_tcp."""
        kind_name = self.kind_name(kind)
        name = STRUCTS_OF_STATE.get(kind_name, kind_name.lower())
        (found,) = [struct for key, struct in self.structs.items() if f"{name}_".startswith(f"{key}_")]
        return found

    def kind_name(self, kind: int) -> str:
        (name,) = [name for name, value in self.enums["pw_kind"].items() if value == kind]
        return name

    def flag_names(self, flags: int) -> set[str]:
        return {name.removeprefix("PW_") for name, bit in self.enums["pw_flag"].items() if flags & bit}

    def decode(self, record: bytes) -> SimpleNamespace:
        """Members by name; the head's and the task's are among them. `kind` and `flags` are names."""
        kind, _flags = (int.from_bytes(record[at : at + 2], "little") for at in (0, 2))
        struct = self.struct_of(kind)
        assert len(record) >= ctypes.sizeof(struct)
        event = SimpleNamespace(**_members(struct.from_buffer_copy(record)))
        event.kind = self.kind_name(kind).removeprefix("PW_")
        # What is reserved for a packet is longer than what it takes.
        assert event.record_bytes == len(record) or (event.kind == "DNS" and event.record_bytes < len(record))
        record = record[: event.record_bytes]
        event.flags = self.flag_names(event.flags)
        event.tail = record[ctypes.sizeof(struct) :]
        return event


def _members(value: ctypes.Structure) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, *_ in value._fields_:
        member = getattr(value, name)
        if isinstance(member, ctypes.Structure):
            found.update(_members(member))
        else:
            found[name] = bytes(member) if isinstance(member, ctypes.Array) else member
    return found


LAYOUT = EventLayout(HEADER.read_text())


def exec_parts(event: SimpleNamespace) -> SimpleNamespace:
    """argv (a list), exe, cwd, filename, interpreter, environment and ancestors of an exec, as bytes."""
    parts, at = [], 0
    names = ("args", "exe", "cwd", "filename", "interpreter", "environment")
    for length in (getattr(event, f"{name}_bytes") for name in names):
        parts.append(event.tail[at : at + length])
        at += length
    ancestor = LAYOUT.structs["pw_ancestor"]
    assert at + event.ancestors * ctypes.sizeof(ancestor) == len(event.tail)
    ancestors = [
        SimpleNamespace(
            **_members(ancestor.from_buffer_copy(event.tail, at + number * ctypes.sizeof(ancestor)))
        )
        for number in range(event.ancestors)
    ]
    args, exe, cwd, filename, interpreter, environment = parts
    assert not args or args.endswith(b"\0") or "ARGS_CUT" in event.flags
    argv = args.split(b"\0")[:-1] if args.endswith(b"\0") else args.split(b"\0")
    return SimpleNamespace(
        argv=argv,
        exe=_path(exe),
        cwd=_path(cwd),
        filename=filename,
        interpreter=interpreter,
        environment=environment.split(b"\0")[:-1],
        ancestors=ancestors,
    )


def _path(leaf_first: bytes) -> bytes:
    assert not leaf_first or leaf_first.endswith(b"\0")
    return b"/" + b"/".join(reversed(leaf_first.split(b"\0")[:-1]))
