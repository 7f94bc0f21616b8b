"""probes.compiler: BCC on this machine, with made headers."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from probes.catalog import HOOKS, SUBJECTS, RingSizes, maps
from probes.codes import CompileError
from probes.compiler import (
    LONGEST_FIRST,
    captured_stderr,
    codes_of,
    first_error,
    map_flags,
    source_text,
    with_kernel_functions,
)
from probes.side_by_side import Ended
from tests.kernel.event_layout import HEADER, LAYOUT

ROOT = Path(__file__).resolve().parents[2]

SIZES = RingSizes(8192, 4096)


def in_a_process(text: str) -> str:
    """BCC stays out of the memory of the tests."""
    head = """
        import os, sys
        from probes.catalog import *
        from probes.compiler import *
        from probes.headers import running_kernel
        from probes.loader import make_maps, units_of
        types, maps = running_kernel(), make_maps(SUBJECTS, RingSizes(8192, 4096))
    """
    program = textwrap.dedent(head) + textwrap.dedent(text)
    run = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert "warning:" not in run.stderr  # such as a macro that two headers define, each in its own way
    return run.stdout


def test_code_of_every_program_in_both_dialects() -> None:
    said = in_a_process("""
        with header_directory(types, ()) as headers:
            compiler = Compiler(headers, maps)
            for dialect in Dialect:
                codes = {}
                for unit, made in compiler.compile(units_of(dict.fromkeys(HOOKS, dialect))):
                    codes.update(made)
                print(*(len(codes[hook.tracepoint]) % 8 for hook in HOOKS), sep="")
        print(os.getcwd() == "/", "BCC_KERNEL_SOURCE" in os.environ)
    """)
    assert said == f"{'0' * len(HOOKS)}\n" * 2 + "False False\n"


def test_the_kernels_memory_is_read_by_loads_where_pointers_can_be_cast() -> None:
    """What it takes to put a flow in is read by calls otherwise."""
    said = in_a_process("""
        def calls(code, helper):
            instructions = list(INSTRUCTION.iter_unpack(code))
            return sum(one[0] == CALL and not one[1] and one[3] == helper for one in instructions)
        with header_directory(types, ()) as headers:
            compiler = Compiler(headers, maps)
            for dialect in Dialect:
                [(_, codes)] = compiler.compile(units_of(dict.fromkeys(hooks_of(["flow"]), dialect)))
                print(calls(codes["cgroup_skb_ingress"], 113))
    """)
    by_loads, by_calls = map(int, said.split())
    assert by_loads < by_calls / 2


def test_a_kernel_that_is_built_without_io_uring_has_all_other_calls() -> None:
    said = in_a_process("""
        from probes.headers import WANTED
        for name in [name for name in WANTED if name.startswith("io_")]:
            del WANTED[name]
        hooks = hooks_of(["syscalls"])
        with header_directory(types, ()) as headers:
            compiler = Compiler(headers, maps)
            for dialect in Dialect:
                for unit, made in compiler.compile(units_of(dict.fromkeys(hooks, dialect))):
                    print(*sorted(made))
    """)
    assert said == "io_uring_submit_req sys_enter sys_exit\n" * 2


def test_code_is_the_same_whether_bcc_reads_the_kernels_symbols_or_not() -> None:
    """It does not where compiler.hide_symbols() may make a namespace."""
    said = in_a_process("""
        import probes.compiler
        with header_directory(types, ()) as headers:
            compiler = Compiler(headers, maps)
            units = units_of({hook: Dialect.TP_BTF for hook in hooks_of(["process", "cgroup"])})
            hidden = dict(compiler.compile(units))
            probes.compiler.hide_symbols = lambda: None
            shown = dict(compiler.compile(units))
        print(hidden == shown, sum(map(len, hidden.values())))
    """)
    assert said == "True 7\n"


def test_only_calls_with_numbers_of_kernel_functions_are_changed() -> None:
    helper, function = (
        bytes((0x85, 0, 0, 0)) + number.to_bytes(4, "little") for number in (131, 0x7000_0000 + 65486)
    )
    no_call = bytes((0xB7, 1, 0, 0)) + function[4:]  # r1 = the same number
    changed = with_kernel_functions(helper + function + no_call)
    assert changed[:8] == helper
    assert changed[8:16] == bytes((0x85, 0x20, 0, 0)) + (65486).to_bytes(4, "little")
    assert changed[16:] == no_call


def test_size_that_the_c_side_does_not_have_is_refused() -> None:
    """A map that is declared too small for its struct does not get as far as the kernel."""
    said = in_a_process("""
        maps = {
            made._replace(value_bytes=made.value_bytes + (made.name == "sockets")): descriptor
            for made, descriptor in maps.items()
        }
        with header_directory(types, ()) as headers:
            units = units_of({hook: Dialect.TP_BTF for hook in hooks_of(["network", "cgroup"])})
            made = {unit.subject: one for unit, one in Compiler(headers, maps).compile(units)}
        print(repr(made["network"]), sorted(made["cgroup"]))
    """)
    assert said.startswith("CompileError(")
    assert "error: " in said
    assert "value of sockets" in said
    assert said.endswith("['cgroup_mkdir', 'cgroup_rmdir']\n")


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_records_have_their_asserted_sizes_for_other_compilers_too(compiler: str, tmp_path: Path) -> None:
    source = tmp_path / "sizes.c"
    source.write_text(f'#include <linux/types.h>\n#include "{HEADER}"\n')
    subprocess.run([compiler, "-std=c11", "-Wall", "-Werror", "-c", source, "-o", os.devnull], check=True)


def test_every_struct_has_an_asserted_size_and_no_hidden_padding() -> None:
    import ctypes

    assert set(LAYOUT.sizes) == set(LAYOUT.structs)
    for name, struct in LAYOUT.structs.items():
        assert ctypes.sizeof(struct) == LAYOUT.sizes[name], name
        end = 0
        for field, *_ in struct._fields_:
            assert getattr(struct, field).offset == end, f"{name}.{field} stands after a hole"
            end += getattr(struct, field).size
        assert end == LAYOUT.sizes[name], f"{name} ends with a hole"


def test_every_kind_has_a_struct() -> None:
    kinds = [kind for name, kind in LAYOUT.enums["pw_kind"].items() if name != "PW_KINDS"]
    assert {LAYOUT.struct_of(kind).__name__ for kind in kinds} | {
        "pw_head",
        "pw_task",
        "pw_entry",
        "pw_ancestor",
        "pw_credentials",
        "pw_flow_slot",
    } == set(LAYOUT.structs)


@pytest.mark.parametrize("subject", SUBJECTS)
def test_text_keeps_the_names_and_lines_of_its_file(subject: str) -> None:
    head, text = source_text(subject).split("\n", 1)
    assert head == f'#line 1 "{subject}.bpf.c"'
    assert text == (ROOT / "probes" / f"{subject}.bpf.c").read_text()


def test_every_subject_has_its_place_in_the_order() -> None:
    assert sorted(LONGEST_FIRST) == sorted(SUBJECTS)


def test_compiler_that_dies_is_an_error_of_its_unit() -> None:
    died = codes_of(Ended(0, b"", -11))
    assert isinstance(died, CompileError)
    assert str(died) == "the compiler ended with status -11"


def test_flags_tell_descriptor_and_sizes_of_each_map() -> None:
    flags = list(map_flags({made: number for number, made in enumerate(maps(SIZES, cpus=4))}))
    assert "-DPW_MAP_ring=0" in flags
    assert "-DPW_ENTRIES_ring=8192" in flags
    assert "-DPW_ENTRIES_flow_ring=4096" in flags
    assert "-DPW_VALUE_BYTES_lost=8" in flags
    assert len(flags) == 4 * len(maps(SIZES, cpus=4))


def test_captured_words_are_passed_on(capfd: pytest.CaptureFixture[str]) -> None:
    with captured_stderr() as said:
        os.write(2, b"a.c:1:2: error: no such thing\n")
        assert first_error(said()) == "a.c:1:2: error: no such thing"
        assert capfd.readouterr().err == ""
    assert capfd.readouterr().err == "a.c:1:2: error: no such thing\n"


def test_first_error_of_nothing_is_nothing() -> None:
    assert first_error("warning: only this\n") == ""
