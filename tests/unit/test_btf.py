"""probes.btf against what gcc describes of known types, and against sections put together by hand."""

from __future__ import annotations

import struct
import subprocess
from pathlib import Path

import pytest

from probes.btf import Btf, BtfError, Kind

SOURCE = """
typedef struct { int counter; } atomic_t;
typedef const atomic_t *volatile alias;
struct inner { unsigned char a; unsigned long long b; };
struct outer {
  char name[16];
  union { struct { unsigned x, y; }; unsigned long both; };
  struct inner in;
  const struct inner *pointer;
  atomic_t number;
  unsigned low : 3, high : 5;
  struct inner many[2];
  signed char small;
  long rest[];
};
typedef void (*btf_trace_told)(void *, int, struct outer *);
struct outer one;
alias two;
btf_trace_told three;
"""


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    directory = tmp_path_factory.mktemp("btf")
    (directory / "types.c").write_text(SOURCE)
    subprocess.run(["gcc", "-gbtf", "-c", "types.c"], cwd=directory, check=True)
    section = ["--only-section=.BTF", "--set-section-flags", ".BTF=alloc", "types.o", "types.btf"]
    subprocess.run(["objcopy", "-O", "binary", *section], cwd=directory, check=True)
    return (directory / "types.btf").read_bytes()


@pytest.fixture(scope="module")
def types(compiled: bytes) -> Btf:
    return Btf(compiled)


@pytest.mark.parametrize(
    ("member", "offset_bytes", "size_bytes"),
    [
        ("name", 0, 16),
        ("both", 16, 8),
        ("x", 16, 4),
        ("y", 20, 4),
        ("in", 24, 16),
        ("pointer", 40, 8),
        ("number", 48, 4),
        ("many", 56, 32),
        ("small", 88, 1),
        ("rest", 96, 0),
    ],
)
def test_members_are_where_the_compiler_has_them(
    types: Btf, member: str, offset_bytes: int, size_bytes: int
) -> None:
    outer = types.aggregate("outer")
    assert outer is not None
    found = types.member(outer, member)
    assert found is not None
    assert (found.bit_offset, types.size_bytes(found.type_id)) == (offset_bytes * 8, size_bytes)
    assert found.bitfield_bits == 0


def test_bitfields_say_so(types: Btf) -> None:
    outer = types.aggregate("outer")
    assert outer is not None
    low, high = (types.member(outer, name) for name in ("low", "high"))
    assert low is not None
    assert high is not None
    assert (low.bit_offset, low.bitfield_bits) == (52 * 8, 3)
    assert (high.bit_offset, high.bitfield_bits) == (52 * 8 + 3, 5)


def test_what_there_is_not_is_none(types: Btf) -> None:
    outer = types.aggregate("outer")
    assert outer is not None
    assert types.member(outer, "missing") is None
    assert types.aggregate("missing") is None
    assert types.typedef("missing") is None
    assert types.aggregate("btf_trace_told") is None  # a typedef of a pointer
    assert types.tracepoint_arguments("missing") is None


def test_typedef_of_an_unnamed_struct_is_found_by_its_name(types: Btf) -> None:
    atomic = types.aggregate("atomic_t")
    assert atomic is not None
    assert [member.name for member in types.members(atomic)] == ["counter"]


def test_resolve_goes_through_typedefs_and_qualifiers(types: Btf) -> None:
    alias = types.typedef("alias")
    assert alias is not None
    pointer = types.resolve(alias)
    assert pointer.kind is Kind.PTR
    assert types.resolve(pointer.size_or_type).kind is Kind.STRUCT
    assert types.resolve(0).kind is Kind.VOID


def test_tracepoint_has_the_arguments_after_its_own_data(types: Btf) -> None:
    assert types.tracepoint_arguments("told") == 2


def test_signs(types: Btf) -> None:
    outer, inner = types.aggregate("outer"), types.aggregate("inner")
    assert outer is not None
    assert inner is not None
    small, a = types.member(outer, "small"), types.member(inner, "a")
    assert small is not None
    assert a is not None
    assert types.is_signed(types.resolve(small.type_id))
    assert not types.is_signed(types.resolve(a.type_id))


@pytest.mark.parametrize("kept", [0, 1, 23, 24, 100, -1])
def test_cut_section_is_refused(compiled: bytes, kept: int) -> None:
    with pytest.raises(BtfError):
        Btf(compiled[:kept])


def test_other_files_are_refused() -> None:
    with pytest.raises(BtfError, match="starts with 0xeb9f"):
        Btf(b"\x7fELF" + bytes(100))


def test_unknown_kinds_are_refused() -> None:
    with pytest.raises(BtfError, match="no type that this reader knows at byte 24"):
        _ = Btf(section([type_head(0, 27, 0, 0)], [])).end_id


def test_unknown_ids_are_refused(types: Btf) -> None:
    with pytest.raises(BtfError, match="no type has the id 99999"):
        types.type(99999)


# Sections by hand: for split BTF, whose ids and names go on where those of the base end.


def section(types: list[bytes], names: list[str]) -> bytes:
    content, strings = b"".join(types), b"\0" + b"".join(name.encode() + b"\0" for name in names)
    header = struct.pack("<HBBIIIII", 0xEB9F, 1, 0, 24, 0, len(content), len(content), len(strings))
    return header + content + strings


def type_head(name_offset: int, kind: int, count: int, size_or_type: int) -> bytes:
    return struct.pack("<III", name_offset, kind << 24 | count, size_or_type)


def split_section(types: list[bytes], names: list[str]) -> bytes:
    """Without the empty string at the start, which the base has."""
    content, strings = b"".join(types), b"".join(name.encode() + b"\0" for name in names)
    header = struct.pack("<HBBIIIII", 0xEB9F, 1, 0, 24, 0, len(content), len(content), len(strings))
    return header + content + strings


def test_module_builds_on_the_kernel() -> None:
    base = Btf(
        section(
            [
                type_head(1, Kind.INT, 0, 8) + struct.pack("<I", 64),
                type_head(6, Kind.STRUCT, 1, 8) + struct.pack("<III", 12, 1, 0),
            ],
            ["long", "inode", "number"],
        )
    )
    names_at = base.string_end
    module = Btf(
        split_section(
            [type_head(names_at, Kind.STRUCT, 1, 24) + struct.pack("<III", names_at + 10, 2, 128)],
            ["ovl_inode", "vfs_inode"],
        ),
        base,
    )
    found = module.aggregate("ovl_inode")
    assert found is not None
    assert (found.id, found.size_or_type) == (3, 24)
    member = module.member(found, "vfs_inode")
    assert member is not None
    assert (member.bit_offset, module.size_bytes(member.type_id)) == (128, 8)
    inner = module.aggregate("inode")
    assert inner is not None
    assert inner.id == 2
    assert [part.name for part in module.members(inner)] == ["number"]
    assert base.aggregate("ovl_inode") is None


def test_kernel_here_is_read_whole() -> None:
    kernel = Btf.load(Path("/sys/kernel/btf/vmlinux"))
    task = kernel.aggregate("task_struct")
    assert task is not None
    assert task.size_or_type > 1000
    assert kernel.end_id > 10_000
