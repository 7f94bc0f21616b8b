"""A kernel header tree for BCC, made from the running kernel's BTF.

BCC compiles against kernel headers, which nodes don't have. A full C dump of the BTF is slow to compile and
wrong: alignment attributes are lost in it, so some structs get another size. Here only the wanted members are
emitted, each at the offset that this kernel has it at.

What the probes find in `<linux/kernel_types.h>`, for a wanted struct S and member M that this kernel has:
`struct S` with M at its place and the size of S right, `HAVE_S__M`, and `OFF_S__M` in bytes; `TYPE_S`, the
number of a struct of the kernel proper in its BTF. A tracepoint T gives `ARGUMENTS_T`, the number of its
arguments, and a function F of KERNEL_FUNCTIONS its number `FUNCTION_F`. What the kernel lacks has no macro.
"""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from probes.btf import AGGREGATES, Btf, Kind, Member, Type
from probes.btf_files import BTF_DIRECTORY, module_files
from probes.catalog import RecordKind
from probes.syscalls import header as calls_header

Wanted = Mapping[str, Sequence[str]]

# A struct in each line, then the members that the probes read.
WANTED_LINES = """
task_struct pid tgid real_parent group_leader nsproxy thread_pid cred mm fs comm start_boottime exit_code
task_struct cgroups signal flags utime stime se loginuid sessionid thread_node
task_struct files ptraced ptrace_entry thread_info pid_links
thread_info flags status
pt_regs orig_ax di si dx r10 r8 r9 bx cx bp regs orig_x0 syscallno
kernel_siginfo si_code
sched_entity sum_exec_runtime
signal_struct live flags group_exit_code utime stime sum_sched_runtime thread_head maxrss tty pids
tty_struct name index driver
tty_driver major minor_start
list_head next
timespec64 tv_sec tv_nsec
atomic_t counter
atomic64_t counter
cred uid gid euid suid fsuid egid sgid fsgid user_ns
cred cap_effective cap_permitted cap_inheritable cap_ambient
kuid_t val
kgid_t val
kernel_cap_t val
pid level numbers tasks
hlist_head first
upid nr ns
nsproxy mnt_ns net_ns uts_ns ipc_ns pid_ns_for_children cgroup_ns time_ns_for_children
time_namespace ns
ns_common inum ns_id
mnt_namespace ns seq
pid_namespace ns child_reaper
user_namespace ns
uts_namespace ns
ipc_namespace ns
cgroup_namespace ns root_cset
net ns net_cookie
css_set dfl_cgrp
cgroup kn level root ancestors ancestor_ids
cgroup_root hierarchy_id
kernfs_node id
bpf_iter_meta seq
socket sk
linux_binprm filename interp argc cred
mm_struct exe_file arg_start arg_end env_start env_end
fs_struct pwd
files_struct fdt
fdtable fd max_fds
path mnt dentry
file f_path f_inode f_mode f_flags private_data
io_kiocb opcode cmd
io_connect addr
io_open dfd filename how
open_how flags mode
io_unlink dfd filename
io_rename old_dfd new_dfd oldpath newpath
io_link old_dfd new_dfd oldpath newpath
filename name
dentry d_parent d_name d_hash
qstr name len
hlist_bl_node pprev
vfsmount mnt_root
mount mnt_parent mnt_mountpoint mnt
inode i_ino i_sb i_nlink i_mode i_private
super_block s_magic s_dev
ovl_inode __upperdentry vfs_inode
sock_common skc_family skc_num skc_dport skc_rcv_saddr skc_daddr skc_v6_rcv_saddr skc_v6_daddr
sock_common skc_net skc_flags skc_state skc_cookie
possible_net_t net
socket file
sock sk_socket __sk_common sk_protocol sk_cgrp_data sk_max_ack_backlog sk_err
sock_cgroup_data cgroup val
inet_sock inet_sport
tcp_sock snd_una snd_nxt write_seq bytes_sent bytes_acked bytes_received bytes_retrans
tcp_sock total_retrans srtt_us segs_in segs_out
"""


def wanted_members(lines: str) -> Wanted:
    wanted: dict[str, list[str]] = {}
    for name, *members in filter(None, map(str.split, lines.split("\n"))):
        wanted.setdefault(name, []).extend(members)
    return wanted


WANTED = wanted_members(WANTED_LINES)

# What programs may call beside the helpers (kfuncs).
KERNEL_FUNCTIONS = (
    *("bpf_rdonly_cast", "bpf_iter_num_new", "bpf_iter_num_next", "bpf_iter_num_destroy"),
    *("bpf_task_from_vpid", "bpf_task_release"),
)

# The directories that BCC looks for asm/page.h in, by what uname says.
ARCHITECTURES = {
    "x86_64": "x86",
    "aarch64": "arm64",
    "ppc64le": "powerpc",
    "s390x": "s390",
    "riscv64": "riscv",
    "loongarch64": "loongarch",
}

# Where the verifier lets a program store a word at any address (HAVE_EFFICIENT_UNALIGNED_ACCESS), always.
STORE_UNALIGNED = ("x86_64", "aarch64", "ppc64le", "s390x")

TYPES_H = """\
#ifndef PW_LINUX_TYPES_H
#define PW_LINUX_TYPES_H
typedef unsigned char u8, __u8;
typedef signed char s8, __s8;
typedef unsigned short u16, __u16, __be16, __le16, __sum16, umode_t;
typedef short s16, __s16;
typedef unsigned int u32, __u32, __be32, __le32, __wsum, dev_t, uid_t, gid_t;
typedef int s32, __s32, pid_t;
typedef unsigned long long u64, __u64, __be64;
typedef long long s64, __s64, loff_t;
typedef unsigned long size_t, uintptr_t;
typedef _Bool bool;
#define __aligned_u64 u64 __attribute__((aligned(8)))
#define NULL ((void *)0)
#define true 1
#define false 0
#endif
"""

# Opcode parts that BCC's own copy of linux/bpf.h builds on.
BPF_COMMON_H = """\
#ifndef PW_LINUX_BPF_COMMON_H
#define PW_LINUX_BPF_COMMON_H
#define BPF_CLASS(code) ((code) & 7)
#define BPF_LD 0
#define BPF_LDX 1
#define BPF_ST 2
#define BPF_STX 3
#define BPF_ALU 4
#define BPF_JMP 5
#define BPF_RET 6
#define BPF_MISC 7
#define BPF_W 0
#define BPF_H 8
#define BPF_B 0x10
#define BPF_IMM 0
#define BPF_ABS 0x20
#define BPF_IND 0x40
#define BPF_MEM 0x60
#define BPF_K 0
#define BPF_X 8
#endif
"""

KCONFIG_H = """\
#ifndef PW_LINUX_KCONFIG_H
#define PW_LINUX_KCONFIG_H
#define CONFIG_BPF_SYSCALL 1
#define __always_inline inline __attribute__((always_inline))
{stores_unaligned}#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)
#define PAGE_SIZE {page_bytes}
#define KERNEL_VERSION(a, b, c) (((a) << 16) + ((b) << 8) + ((c) > 255 ? 255 : (c)))
#define LINUX_VERSION_CODE KERNEL_VERSION({major}, {minor}, {patch})
#include <linux/types.h>
#include <linux/kernel_types.h>
#endif
"""

# Included by BCC or by its own headers; nothing in them is used by the probes.
EMPTY = (
    "include/uapi/linux/if_packet.h",
    "include/uapi/linux/if_ether.h",
    "include/uapi/linux/ip.h",
    "include/uapi/linux/ptrace.h",
    "include/linux/version.h",
    "include/linux/log2.h",
    "include/linux/sched.h",
    "include/net/sock.h",
)


def running_kernel(directory: Path = BTF_DIRECTORY) -> list[Btf]:
    """The kernel's BTF, then that of the wanted modules which are loaded. Raises OSError, BtfError."""
    kernel = Btf.load(directory / "vmlinux")
    return [kernel, *(Btf.load(path, kernel) for path in module_files(directory))]


def kernel_version(release: str) -> tuple[int, int, int]:
    """(5, 14, 0) of "5.14.0-427.el9.x86_64"; what is not a number counts as 0."""
    numbers = re.match(r"(\d+)\.(\d+)(?:\.(\d+))?", release)
    major, minor, patch = numbers.groups(default="0") if numbers else ("0", "0", "0")
    return int(major), int(minor), int(patch)


class TypeEmitter:
    """C declarations of the wanted members, and the macros that tell which there are."""

    def __init__(self, sections: Sequence[Btf], wanted: Wanted = WANTED) -> None:
        """`sections`: the kernel's, then modules' on top of it. The first that has a struct counts."""
        self._wanted = wanted
        self._found: dict[str, tuple[Btf, Type]] = {}
        for name in wanted:
            for section in sections:
                aggregate = section.aggregate(name)
                if aggregate is not None:
                    self._found[name] = (section, aggregate)
                    break
        self._names = {aggregate.id: name for name, (_, aggregate) in self._found.items()}
        self._pointed_to: set[str] = set()
        self._emitted: dict[str, str] = {}
        self._macros: list[str] = []

    def text(self) -> str:
        for name in self._found:
            self._emit(name)
        forward = [f"struct {name};" for name in sorted({*self._found, *self._pointed_to})]
        return "\n".join([*self._macros, *forward, *self._emitted.values(), ""])

    def _emit(self, name: str) -> None:
        if name in self._emitted:
            return
        section, aggregate = self._found[name]
        if section.first_id == 1:
            self._macros.append(f"#define TYPE_{name} {aggregate.id}")
        lines = [f"struct {name} {{", "  union {", f"    u8 whole_[{aggregate.size_or_type}];"]
        for member_name in self._wanted[name]:
            member = section.member(aggregate, member_name)
            if member is None:
                continue
            bytes_before = member.bit_offset // 8
            self._macros.append(f"#define HAVE_{name}__{member_name} 1")
            self._macros.append(f"#define OFF_{name}__{member_name} {bytes_before}")
            if not member.bitfield_bits and not member.bit_offset % 8:
                lines.append(self._place(section, member, bytes_before))
        lines.append("  };")
        lines.append(f"}} __attribute__((aligned({_alignment(aggregate.size_or_type)})));")
        self._emitted[name] = "\n".join(lines)

    def _place(self, section: Btf, member: Member, bytes_before: int) -> str:
        """Members lie over each other in a union, so their order and overlaps don't matter."""
        before, after = self._c_type(section, member.type_id)
        padding = f"u8 before_{member.name}_[{bytes_before}]; " if bytes_before else ""
        return f"    struct {{ {padding}{before} {member.name}{after}; }} __attribute__((packed));"

    def _c_type(self, section: Btf, type_id: int) -> tuple[str, str]:
        """What stands before and after the name in a declaration."""
        found = section.resolve(type_id)
        if found.kind is Kind.ARRAY:
            element, count = section.element(found)
            before, after = self._c_type(section, element)
            return before, f"[{count}]{after}"
        if found.kind in AGGREGATES:
            return self._embedded(found)
        if found.kind is Kind.PTR:
            return self._pointer(section, found), ""
        return _scalar(section, found), ""

    def _embedded(self, found: Type) -> tuple[str, str]:
        name = self._names.get(found.id)
        if name is None:
            return "u8", f"[{found.size_or_type}]"
        self._emit(name)
        return f"struct {name}", ""

    def _pointer(self, section: Btf, found: Type) -> str:
        target = section.resolve(found.size_or_type)
        if target.kind is Kind.INT:
            return _scalar(section, target) + " *"
        name = self._names.get(target.id) or (target.name if target.kind is Kind.STRUCT else "")
        if not name:
            return "void *"
        self._pointed_to.add(name)
        return f"struct {name} *"


def _scalar(section: Btf, found: Type) -> str:
    size = found.size_or_type
    if found.kind is Kind.INT:
        if size == 1 and found.name == "char":
            return "char"
        return f"{'s' if section.is_signed(found) else 'u'}{size * 8}"
    if found.kind in (Kind.ENUM, Kind.ENUM64):
        return f"u{size * 8}"
    return "void"


def _alignment(size: int) -> int:
    """The kernel allocates structs at 8 bytes; a smaller one may be embedded at less."""
    return next(bound for bound in (8, 4, 2, 1) if size % bound == 0)


def tracepoint_macros(kernel: Btf, tracepoints: Iterable[str]) -> Iterator[str]:
    for name in tracepoints:
        count = kernel.tracepoint_arguments(name)
        if count is not None:
            yield f"#define ARGUMENTS_{name} {count}"


def function_macros(kernel: Btf) -> Iterator[str]:
    for name in KERNEL_FUNCTIONS:
        number = kernel.function(name)
        if number is not None:
            yield f"#define FUNCTION_{name} {number}"


def header_tree(
    sections: Sequence[Btf],
    tracepoints: Iterable[str],
    *,
    release: str,
    machine: str,
    without: Collection[str] = (),
    calls_off: Collection[RecordKind] = (),
) -> dict[str, str]:
    """Text by path. `without`: macros to leave out, as if the kernel lacked what they stand for. `calls_off`:
    kinds of calls that are not looked at."""
    major, minor, patch = kernel_version(release)
    macros = "\n".join((*tracepoint_macros(sections[0], tracepoints), *function_macros(sections[0])))
    types = f"{macros}\n{TypeEmitter(sections).text()}"
    kept = "\n".join(line for line in types.split("\n") if not _defines(line, without))
    architecture = ARCHITECTURES.get(machine, machine)
    return {
        **dict.fromkeys((*EMPTY, f"arch/{architecture}/include/asm/page.h"), ""),
        "include/linux/types.h": TYPES_H,
        "include/linux/bpf_common.h": BPF_COMMON_H,
        "include/uapi/linux/bpf.h": "#include <linux/types.h>\n",
        "include/linux/kconfig.h": KCONFIG_H.format(
            page_bytes=os.sysconf("SC_PAGE_SIZE"),
            major=major,
            minor=minor,
            patch=patch,
            stores_unaligned="#define STORES_UNALIGNED 1\n" if machine in STORE_UNALIGNED else "",
        ),
        "include/linux/kernel_types.h": kept,
        "include/linux/podwitness_calls.h": calls_header(machine, calls_off),
    }


def _defines(line: str, names: Collection[str]) -> bool:
    words = line.split(maxsplit=2)
    return len(words) > 1 and words[0] == "#define" and words[1] in names


def write_tree(
    directory: Path,
    sections: Sequence[Btf],
    tracepoints: Iterable[str],
    without: Collection[str] = (),
    calls_off: Collection[RecordKind] = (),
) -> None:
    """The tree for this machine, whose types `sections` are. Raises OSError."""
    tree = header_tree(
        sections,
        tracepoints,
        release=platform.release(),
        machine=platform.machine(),
        without=without,
        calls_off=calls_off,
    )
    for name, text in tree.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
