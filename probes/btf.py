"""Reads BTF, the kernel's description of its own types.

Format: Documentation/bpf/btf.rst of the kernel. Nothing is trusted about what a kernel has: a type or member
that is not there is None, never an error.
"""

from __future__ import annotations

import struct
from bisect import bisect_left
from collections.abc import Iterator
from enum import IntEnum
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

MAGIC = 0xEB9F
HEADER = struct.Struct("<HBBIIIII")
TYPE = struct.Struct("<III")
ARRAY = struct.Struct("<III")
POINTER_BYTES = 8  # BTF of 64-bit kernels only


class Kind(IntEnum):
    VOID = 0
    INT = 1
    PTR = 2
    ARRAY = 3
    STRUCT = 4
    UNION = 5
    ENUM = 6
    FWD = 7
    TYPEDEF = 8
    VOLATILE = 9
    CONST = 10
    RESTRICT = 11
    FUNC = 12
    FUNC_PROTO = 13
    VAR = 14
    DATASEC = 15
    FLOAT = 16
    DECL_TAG = 17
    TYPE_TAG = 18
    ENUM64 = 19


# Bytes after the 12 of a type: a constant part, and a part for each of its `count` members.
TAIL_BYTES = {
    Kind.INT: (4, 0),
    Kind.ARRAY: (12, 0),
    Kind.STRUCT: (0, 12),
    Kind.UNION: (0, 12),
    Kind.ENUM: (0, 8),
    Kind.FUNC_PROTO: (0, 8),
    Kind.VAR: (4, 0),
    Kind.DATASEC: (0, 12),
    Kind.DECL_TAG: (4, 0),
    Kind.ENUM64: (0, 12),
}
TRANSPARENT = {Kind.TYPEDEF, Kind.VOLATILE, Kind.CONST, Kind.RESTRICT, Kind.TYPE_TAG}
AGGREGATES = {Kind.STRUCT, Kind.UNION}


class BtfError(ValueError):
    """The bytes are not BTF that this reader knows."""


class Type(NamedTuple):
    id: int
    name: str
    kind: Kind
    vlen: int  # members of a struct, parameters of a function
    has_bitfields: bool
    size_or_type: int
    tail: int  # offset of what follows the head


class Member(NamedTuple):
    name: str
    type_id: int
    bit_offset: int
    bitfield_bits: int  # 0: not a bitfield


class Btf:
    """One BTF section; a module's is read on top of the kernel's own (`base`)."""

    def __init__(self, content: bytes, base: Btf | None = None) -> None:
        """Raises BtfError."""
        try:
            magic, _version, _flags, header_bytes, type_off, type_len, string_off, string_len = (
                HEADER.unpack_from(content)
            )
        except struct.error as error:
            raise BtfError(f"{len(content)} bytes are too few for BTF") from error
        if magic != MAGIC:
            raise BtfError(f"BTF starts with {MAGIC:#x}, not with {magic:#x}")
        self._content = content
        self._base = base
        self._types: tuple[int, int] = (header_bytes + type_off, header_bytes + type_off + type_len)
        self._strings: tuple[int, int] = (header_bytes + string_off, header_bytes + string_off + string_len)
        if max(self._types[1], self._strings[1]) > len(content):
            raise BtfError(f"BTF is cut at {len(content)} bytes")
        self.first_id: int = base.end_id if base else 1
        self.string_start: int = base.string_end if base else 0
        self.string_end: int = self.string_start + string_len

    @classmethod
    def load(cls, path: Path, base: Btf | None = None) -> Btf:
        """Raises OSError, BtfError."""
        return cls(path.read_bytes(), base)

    @cached_property
    def _index(self) -> tuple[list[int], dict[tuple[int, bool], int]]:
        """Where each type starts, by id - first_id; first id by (name's offset, whether it is a typedef).

        One loop without calls: a kernel has more than a hundred thousand types.
        """
        content, (offset, end) = self._content, self._types
        unpack, offsets, named = TYPE.unpack_from, list[int](), dict[tuple[int, bool], int]()
        fixed = [12 + TAIL_BYTES.get(kind, (0, 0))[0] for kind in Kind]
        each = [TAIL_BYTES.get(kind, (0, 0))[1] for kind in Kind]
        typedef, can_be_named = int(Kind.TYPEDEF), {int(kind) for kind in (*AGGREGATES, Kind.TYPEDEF)}
        type_id = self.first_id
        try:
            while offset < end:
                name, info, _ = unpack(content, offset)
                kind = info >> 24 & 31
                if name and kind in can_be_named:
                    named.setdefault((name, kind == typedef), type_id)
                offsets.append(offset)
                type_id += 1
                offset += fixed[kind] + each[kind] * (info & 0xFFFF)
        except (IndexError, struct.error) as error:
            raise BtfError(f"no type that this reader knows at byte {offset}") from error
        return offsets, named

    @property
    def end_id(self) -> int:
        return self.first_id + len(self._index[0])

    def string(self, offset: int) -> str:
        if offset < self.string_start and self._base:
            return self._base.string(offset)
        start = self._strings[0] + offset - self.string_start
        end = self._content.index(b"\0", start, self._strings[1])
        return self._content[start:end].decode()

    def _string_offset(self, text: str) -> int | None:
        start, end = self._strings
        ended = text.encode() + b"\0"
        # A module's first string has no other before it.
        at = (
            start
            if self._content.startswith(ended, start)
            else self._content.find(b"\0" + ended, start, end) + 1
        )
        if at:
            return at - start + self.string_start
        return self._base._string_offset(text) if self._base else None

    def _id(self, name: str, *, typedef: bool) -> int | None:
        offset = self._string_offset(name)
        own = None if offset is None else self._index[1].get((offset, typedef))
        if own is None and self._base:
            return self._base._id(name, typedef=typedef)
        return own

    def type(self, type_id: int) -> Type:
        """Raises BtfError for an id that there is not."""
        if type_id == 0:
            return Type(0, "", Kind.VOID, 0, False, 0, 0)
        if type_id < self.first_id and self._base:
            return self._base.type(type_id)
        try:
            offset = self._index[0][type_id - self.first_id]
        except IndexError as error:
            raise BtfError(f"no type has the id {type_id}") from error
        name, info, size = TYPE.unpack_from(self._content, offset)
        return Type(
            type_id,
            self.string(name),
            Kind(info >> 24 & 31),
            info & 0xFFFF,
            bool(info >> 31),
            size,
            offset + TYPE.size,
        )

    def typedef(self, name: str) -> int | None:
        """Id of the typedef `name`."""
        return self._id(name, typedef=True)

    def function(self, name: str) -> int | None:
        """Id of the kernel's function `name`. Functions are not in the index, which they would double."""
        offset = self._string_offset(name)
        if offset is None:
            return None
        begin, end = self._types
        for linkage in (1, 0):
            wanted = struct.pack("<II", offset, Kind.FUNC << 24 | linkage)
            at = self._content.find(wanted, begin, end)
            starts = self._index[0]
            index = bisect_left(starts, at)
            if index < len(starts) and starts[index] == at:
                return self.first_id + index
        return None

    def aggregate(self, name: str) -> Type | None:
        """The struct or union `name`, or the one that the typedef `name` stands for."""
        found = self._id(name, typedef=False)
        if found is None:
            found = self._id(name, typedef=True)
        if found is None:
            return None
        resolved = self.resolve(found)
        return resolved if resolved.kind in AGGREGATES else None

    def resolve(self, type_id: int) -> Type:
        """The type itself, without typedefs, const, volatile and tags."""
        found = self.type(type_id)
        while found.kind in TRANSPARENT:
            found = self.type(found.size_or_type)
        return found

    def members(self, aggregate: Type) -> Iterator[Member]:
        if aggregate.id < self.first_id and self._base:
            yield from self._base.members(aggregate)
            return
        for index in range(aggregate.vlen):
            name, type_id, offset = TYPE.unpack_from(self._content, aggregate.tail + index * TYPE.size)
            bits = offset >> 24 if aggregate.has_bitfields else 0
            yield Member(
                self.string(name), type_id, offset & 0xFFFFFF if aggregate.has_bitfields else offset, bits
            )

    def member(self, aggregate: Type, name: str) -> Member | None:
        """The member `name`, also inside unnamed structs and unions; its offset is that in `aggregate`."""
        for member in self.members(aggregate):
            if member.name == name:
                return member
            inner = self.resolve(member.type_id) if not member.name else None
            found = self.member(inner, name) if inner and inner.kind in AGGREGATES else None
            if found:
                return found._replace(bit_offset=found.bit_offset + member.bit_offset)
        return None

    def element(self, array: Type) -> tuple[int, int]:
        """(type id of the elements, how many)."""
        if array.id < self.first_id and self._base:
            return self._base.element(array)
        type_id: int
        count: int
        type_id, _index_type, count = ARRAY.unpack_from(self._content, array.tail)
        return type_id, count

    def is_signed(self, integer: Type) -> bool:
        if integer.id < self.first_id and self._base:
            return self._base.is_signed(integer)
        return bool(self._content[integer.tail + 3] & 1)

    def size_bytes(self, type_id: int) -> int:
        found = self.resolve(type_id)
        if found.kind is Kind.PTR:
            return POINTER_BYTES
        if found.kind is Kind.ARRAY:
            element, count = self.element(found)
            return count * self.size_bytes(element)
        return found.size_or_type

    def tracepoint_arguments(self, name: str) -> int | None:
        """How many arguments the tracepoint `name` hands to a program; None: there is no such tracepoint."""
        typedef = self.typedef(f"btf_trace_{name}")
        if typedef is None:
            return None
        pointer = self.resolve(typedef)
        function = self.resolve(pointer.size_or_type) if pointer.kind is Kind.PTR else pointer
        # The first parameter of the prototype is the tracepoint's own data, which programs don't see.
        return function.vlen - 1 if function.kind is Kind.FUNC_PROTO else None
