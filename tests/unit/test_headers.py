"""probes.headers: what is emitted lies where the compiler that described the types has it."""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from probes.btf import Btf
from probes.headers import (
    WANTED,
    TypeEmitter,
    header_tree,
    kernel_version,
    running_kernel,
    wanted_members,
)
from tests.unit.test_btf import SOURCE

WANTED_OF_SOURCE = wanted_members("""
outer name x y both in pointer number many small missing
inner b
atomic_t counter
nowhere member
""")
PRESENT = [
    (name, member)
    for name, members in WANTED_OF_SOURCE.items()
    for member in members
    if name != "nowhere" and member != "missing"
]


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("headers")


@pytest.fixture(scope="module")
def types(directory: Path) -> Btf:
    (directory / "types.c").write_text(SOURCE)
    subprocess.run(["gcc", "-gbtf", "-c", "types.c"], cwd=directory, check=True)
    section = ["--only-section=.BTF", "--set-section-flags", ".BTF=alloc", "types.o", "types.btf"]
    subprocess.run(["objcopy", "-O", "binary", *section], cwd=directory, check=True)
    return Btf.load(directory / "types.btf")


def emitted(types: Btf) -> str:
    tree = header_tree([types], ["told", "untold"], release="5.14.0-427.el9", machine="x86_64")
    return tree["include/linux/types.h"] + TypeEmitter([types], WANTED_OF_SOURCE).text()


def layout(directory: Path, declarations: str, of_typedef: str) -> list[str]:
    """Offsets and sizes as a compiler sees them. `of_typedef`: what stands for the struct without a name."""

    def lines() -> Iterator[str]:
        for name, member in PRESENT:
            of = of_typedef if name == "atomic_t" else f"struct {name}"
            offset, size = f"offsetof({of}, {member})", f"sizeof((({of} *)0)->{member})"
            yield f'printf("{name}.{member} %zu %zu %zu\\n", {offset}, {size}, sizeof({of}));'

    program = "\n".join(
        [declarations, "#include <stddef.h>", "#include <stdio.h>", "int main(void) {", *lines(), "}"]
    )
    (directory / "layout.c").write_text(program.replace("typedef unsigned long size_t, uintptr_t;", ""))
    subprocess.run(["gcc", "-w", "layout.c", "-o", "layout"], cwd=directory, check=True)
    said = subprocess.run([directory / "layout"], capture_output=True, text=True, check=True).stdout
    return said.split("\n")


def test_emitted_members_have_offset_and_size_of_the_original(types: Btf, directory: Path) -> None:
    ours = layout(directory, emitted(types).replace("#define NULL ((void *)0)", ""), "struct atomic_t")
    assert ours == layout(directory, SOURCE, "atomic_t")
    assert len(ours) == len(PRESENT) + 1


def test_macros_tell_what_there_is(types: Btf) -> None:
    text = TypeEmitter([types], WANTED_OF_SOURCE).text()
    for name, member in PRESENT:
        assert f"#define HAVE_{name}__{member} 1\n" in text
        assert f"#define OFF_{name}__{member} " in text
    assert "missing" not in text
    assert "nowhere" not in text


def test_bitfields_have_macros_but_no_member(types: Btf) -> None:
    text = TypeEmitter([types], {"outer": ["high"]}).text()
    assert "#define OFF_outer__high 52\n" in text
    assert " high;" not in text


def test_tracepoints_have_the_number_of_their_arguments(types: Btf) -> None:
    tree = header_tree([types], ["told", "untold"], release="6.1.0", machine="aarch64")
    assert "#define ARGUMENTS_told 2\n" in tree["include/linux/kernel_types.h"]
    assert "untold" not in tree["include/linux/kernel_types.h"]


def test_kernel_has_numbers_of_structs_and_functions() -> None:
    kernel = running_kernel()[:1]
    text = header_tree(kernel, [], release="6.18.0", machine="x86_64")["include/linux/kernel_types.h"]
    task = kernel[0].aggregate("task_struct")
    assert task is not None
    assert f"#define TYPE_task_struct {task.id}\n" in text
    assert f"#define FUNCTION_bpf_rdonly_cast {kernel[0].function('bpf_rdonly_cast')}\n" in text


def test_macros_can_be_left_out(types: Btf) -> None:
    without = header_tree([types], ["told"], release="6.1.0", machine="x86_64", without=["ARGUMENTS_told"])
    assert "ARGUMENTS_told" not in without["include/linux/kernel_types.h"]


@pytest.mark.parametrize(
    ("machine", "path"),
    [("x86_64", "arch/x86/include/asm/page.h"), ("aarch64", "arch/arm64/include/asm/page.h")],
)
def test_page_header_is_where_bcc_looks_for_it(types: Btf, machine: str, path: str) -> None:
    assert path in header_tree([types], [], release="6.1.0", machine=machine)


@pytest.mark.parametrize(
    ("release", "version"),
    [
        ("6.18.44-fc", (6, 18, 44)),
        ("5.14.0-427.el9.x86_64", (5, 14, 0)),
        ("6.1", (6, 1, 0)),
        ("6.12-rc3+", (6, 12, 0)),
        ("custom", (0, 0, 0)),
    ],
)
def test_version_of_a_release(release: str, version: tuple[int, int, int]) -> None:
    assert kernel_version(release) == version


def test_version_is_that_of_the_release(types: Btf) -> None:
    tree = header_tree([types], [], release="5.14.0-427.el9.x86_64", machine="x86_64")
    assert "#define LINUX_VERSION_CODE KERNEL_VERSION(5, 14, 0)\n" in tree["include/linux/kconfig.h"]


def test_wanted_lines_of_one_struct_are_put_together() -> None:
    assert wanted_members("a one two\n\nb x\na three\n") == {"a": ["one", "two", "three"], "b": ["x"]}


def test_kernel_here_has_what_the_probes_want() -> None:
    """What is missing on a newer kernel shows here first. What is known to have gone, or to have
    another in its place, is left out."""
    text = TypeEmitter(running_kernel()).text()
    missing = [
        f"{name}.{member}"
        for name, members in WANTED.items()
        for member in members
        if f"#define HAVE_{name}__{member} 1\n" not in text
    ]
    registers = {"orig_ax", "di", "si", "dx", "r10", "r8", "r9", "bx", "cx", "bp"}
    if platform.machine() == "x86_64":
        registers = {"regs", "orig_x0", "syscallno"}
    missing = [one for one in missing if one.removeprefix("pt_regs.") not in registers]
    known = {"mnt_namespace.seq", "cgroup.ancestor_ids", "ns_common.ns_id", "cgroup.ancestors"}
    missing = [one for one in missing if one not in known]
    assert missing in ([], ["sock_cgroup_data.val"], ["sock_cgroup_data.cgroup"]), platform.release()
