"""What is kept of a compilation: the code of each program, with its maps by name in place of descriptors.

The bytes of an entry: a line of MAGIC and the SHA-256 of all that follows, a line of JSON, and the code of
the programs in the order of that line.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from probes.catalog import Dialect
from probes.codes import Codes, CodeSource, CompileError, Unit

MAGIC = b"podwitness probes 1 "
INSTRUCTION_BYTES = 8
_IMMEDIATE = struct.Struct("<i")  # at byte 4 of an instruction
_LOAD_64 = 0x18  # the only instruction of 16 bytes: what it loads is said by its source register
_NUMBER, _MAP_DESCRIPTOR = 0, 1


class NotKept(Exception):
    """There is no entry that can be used, and why. `is_odd`: it is there, but not as it was written."""

    def __init__(self, reason: str, *, is_odd: bool = True) -> None:
        super().__init__(reason)
        self.is_odd = is_odd


class Program(NamedTuple):
    code: bytes  # 0 where a map's descriptor belongs
    maps: tuple[tuple[int, str], ...]  # (offset of an instruction that loads a map, the map's name)


Programs = dict[tuple[Dialect, str], Program]  # by dialect and tracepoint


class Entry(NamedTuple):
    key: str
    compiler: str  # which BCC made it
    btf_ids: dict[str, int]  # of the tracepoints that the kernel's BTF has
    attached: frozenset[str]  # tracepoints; the kernel refused the other programs
    programs: Programs


def symbolic(code: bytes, names: Mapping[int, str]) -> Program:
    """`names`: of maps, by descriptor. Raises ValueError for code that refers to anything else."""
    changed, maps = bytearray(code), []
    for offset in _loads(code):
        kind = code[offset + 1] >> 4
        if kind == _MAP_DESCRIPTOR:
            (descriptor,) = _IMMEDIATE.unpack_from(code, offset + 4)
            if descriptor not in names:
                raise ValueError(f"code refers to descriptor {descriptor}, which is no map of ours")
            maps.append((offset, names[descriptor]))
            _IMMEDIATE.pack_into(changed, offset + 4, 0)
        elif kind != _NUMBER:
            raise ValueError(f"code loads something of kind {kind}, which is not known here")
    return Program(bytes(changed), tuple(maps))


def numbered(program: Program, descriptors: Mapping[str, int]) -> bytes:
    """The code for maps with these descriptors. Raises NotKept."""
    code = bytearray(program.code)
    for offset, name in program.maps:
        if name not in descriptors:
            raise NotKept(f"the code refers to a map {name}, which there is not")
        _IMMEDIATE.pack_into(code, offset + 4, descriptors[name])
    return bytes(code)


def _loads(code: bytes) -> Iterator[int]:
    """Offsets of the instructions of 16 bytes."""
    offset = 0
    while offset < len(code):
        is_load = code[offset] == _LOAD_64
        if is_load:
            yield offset
        offset += INSTRUCTION_BYTES * (1 + is_load)


def encode(entry: Entry) -> bytes:
    listed = [[dialect, name, len(kept.code), kept.maps] for (dialect, name), kept in entry.programs.items()]
    fields = [entry.key, entry.compiler, entry.btf_ids, sorted(entry.attached), listed]
    code = b"".join(kept.code for kept in entry.programs.values())
    content = json.dumps(fields).encode() + b"\n" + code
    return MAGIC + hashlib.sha256(content).hexdigest().encode() + b"\n" + content


def decode(written: bytes, key: str) -> Entry:
    """Raises NotKept."""
    head, _, content = written.partition(b"\n")
    if not head.startswith(MAGIC):
        raise NotKept("it is not what this version writes")
    if head[len(MAGIC) :] != hashlib.sha256(content).hexdigest().encode():
        raise NotKept("its checksum is wrong")
    try:
        entry = _entry(content)
    except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:
        raise NotKept(f"it can't be read: {error}") from error
    if entry.key != key:
        raise NotKept("it was made for another kernel, other probes or another request")
    return entry


def _entry(content: bytes) -> Entry:
    line, _, code = content.partition(b"\n")
    key, compiler, btf_ids, attached, listed = json.loads(line)
    programs: Programs = {}
    offset = 0
    for dialect, name, size, maps in listed:
        program = Program(code[offset : offset + size], tuple((int(at), str(of)) for at, of in maps))
        _check(program, size)
        programs[Dialect(dialect), str(name)] = program
        offset += size
    ids = {str(name): int(number) for name, number in btf_ids.items()}
    return Entry(str(key), str(compiler), ids, frozenset(attached), programs)


def _check(program: Program, size: int) -> None:
    """Raises ValueError. What the code does is for the kernel to judge."""
    if size <= 0 or size % INSTRUCTION_BYTES or len(program.code) != size:
        raise ValueError(f"a program of {size} bytes")
    if not {offset for offset, _ in program.maps} <= set(_loads(program.code)):
        raise ValueError("a map at an instruction that loads none")


class Recorder:
    """Passes on what a compiler makes, and keeps it."""

    def __init__(self, compiler: CodeSource, maps: Mapping[str, int]) -> None:
        self._compiler = compiler
        self._names = {descriptor: name for name, descriptor in maps.items()}
        self.programs: Programs = {}
        self.gap = ""  # why what was kept is not all

    def compile(self, units: Sequence[Unit]) -> Iterator[tuple[Unit, Codes | CompileError]]:
        for unit, made in self._compiler.compile(units):
            if isinstance(made, CompileError):
                self.gap = str(made)
            else:
                self._keep(unit.dialect, made)
            yield unit, made

    def _keep(self, dialect: Dialect, codes: Codes) -> None:
        try:
            for tracepoint, code in codes.items():
                self.programs[dialect, tracepoint] = symbolic(code, self._names)
        except ValueError as error:
            self.gap = str(error)


class Replay:
    """Gives what was kept in place of the compiler."""

    def __init__(self, programs: Programs, maps: Mapping[str, int]) -> None:
        self._programs = programs
        self._maps = maps

    def compile(self, units: Sequence[Unit]) -> Iterator[tuple[Unit, Codes | CompileError]]:
        """The longest first. Raises NotKept, before anything else, for a program that was not needed then."""
        made = [(unit, {name: self._code(unit.dialect, name) for name in unit.tracepoints}) for unit in units]
        yield from sorted(made, key=lambda unit: max(map(len, unit[1].values())), reverse=True)

    def _code(self, dialect: Dialect, tracepoint: str) -> bytes:
        if (dialect, tracepoint) not in self._programs:
            raise NotKept(f"the kernel no longer takes {tracepoint} as it was kept")
        return numbered(self._programs[dialect, tracepoint], self._maps)
