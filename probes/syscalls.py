"""The system calls that are looked at: their numbers, what is taken of the arguments, and the C text of both.

Nodes have no kernel headers, so the numbers are written here; tests compare them with this machine's headers.
A call that a machine lacks (aarch64 has fchmodat(2) only) has none there.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from probes.catalog import RecordKind

RESULT = 6  # in place of an argument's number: the descriptor that the call returns
SOCKET_PATH = 5  # where the probe puts the address of the path that connect(2) was passed
IN_OPEN_HOW, AS_CREAT = 8, 9  # where open(2) and its like have flags: in a struct; none, it writes
WORDS = 8  # of 64 numbers each: 0 to 511, more than any machine has


@dataclass(frozen=True, slots=True)
class Call:
    """`texts`, `descriptor`: which arguments are strings, and which a descriptor whose path is told.

    `path`: which text is a path that, when relative, starts in the folder of the descriptor or in the
    process's own. `open_flags`: number of the argument from 1 on, or one of two constants below.
    `changes_identity`: ids, capabilities and namespaces before and after the call are told.
    """

    name: str
    kind: RecordKind
    x86_64: int | None
    generic: int | None  # asm-generic/unistd.h: aarch64, riscv64, loongarch64
    i386: tuple[int, ...]  # a second number is that of the variant with 32-bit ids, setuid32
    texts: tuple[int, ...] = ()
    descriptor: int | None = None
    path: int | None = None
    changes_identity: bool = False
    open_flags: int = 0

    @property
    def kinds(self) -> tuple[RecordKind, ...]:
        """Of its records; the probe tells by flags and mode which of them an open is."""
        by_open = (RecordKind.PRIVILEGE_FILE_WRITE, RecordKind.PRIVILEGE_CHMOD)
        return (self.kind, *by_open) if self.open_flags else (self.kind,)


def _calls() -> tuple[Call, ...]:
    kind = RecordKind
    setuid, setgid = kind.PRIVILEGE_SETUID, kind.PRIVILEGE_SETGID
    mount, key = kind.PRIVILEGE_MOUNT, kind.PRIVILEGE_KEYCTL
    load, exec_kernel = kind.PRIVILEGE_LOAD_MODULE, kind.PRIVILEGE_KEXEC_LOAD
    chmod, chown, mknod = kind.PRIVILEGE_CHMOD, kind.PRIVILEGE_CHOWN, kind.PRIVILEGE_MKNOD
    symlink, link, kill = kind.PRIVILEGE_SYMLINK, kind.PRIVILEGE_LINK, kind.PRIVILEGE_KILL
    return (
        Call("setuid", setuid, 105, 146, (23, 213), changes_identity=True),
        Call("setreuid", setuid, 113, 145, (70, 203), changes_identity=True),
        Call("setresuid", setuid, 117, 147, (164, 208), changes_identity=True),
        Call("setfsuid", setuid, 122, 151, (138, 215), changes_identity=True),
        Call("setgid", setgid, 106, 144, (46, 214), changes_identity=True),
        Call("setregid", setgid, 114, 143, (71, 204), changes_identity=True),
        Call("setresgid", setgid, 119, 149, (170, 210), changes_identity=True),
        Call("setfsgid", setgid, 123, 152, (139, 216), changes_identity=True),
        Call("setgroups", setgid, 116, 159, (81, 206), changes_identity=True),
        Call("capset", kind.PRIVILEGE_CAPSET, 126, 91, (185,), changes_identity=True),
        Call("ptrace", kind.PRIVILEGE_PTRACE, 101, 117, (26,)),
        Call("pidfd_getfd", kind.PRIVILEGE_PTRACE, 438, 438, (438,)),
        Call("mount", mount, 165, 40, (21,), (0, 1, 2), path=1),
        Call("move_mount", mount, 429, 429, (429,), (1, 3), descriptor=2, path=1),
        Call("open_tree", mount, 428, 428, (428,), (1,), descriptor=0, path=0),
        Call("open_tree_attr", mount, 467, 467, (467,), (1,), descriptor=0, path=0),
        Call("fsopen", mount, 430, 430, (430,), (0,)),
        Call("fspick", mount, 433, 433, (433,), (1,), descriptor=0, path=0),
        Call("fsconfig", mount, 431, 431, (431,), (3,)),
        Call("fsmount", mount, 432, 432, (432,)),
        Call("mount_setattr", mount, 442, 442, (442,), (1,), descriptor=0, path=0),
        Call("umount2", kind.PRIVILEGE_UMOUNT, 166, 39, (52,), (0,), path=0),
        Call("pivot_root", kind.PRIVILEGE_PIVOT_ROOT, 155, 41, (217,), (0, 1), path=0),
        Call("chroot", kind.PRIVILEGE_CHROOT, 161, 51, (61,), (0,), path=0),
        Call("unshare", kind.PRIVILEGE_UNSHARE, 272, 97, (310,), changes_identity=True),
        Call("setns", kind.PRIVILEGE_SETNS, 308, 268, (346,), changes_identity=True),
        Call("clone", kind.PRIVILEGE_CLONE, 56, 220, (120,)),
        Call("bpf", kind.PRIVILEGE_BPF, 321, 280, (357,)),
        Call("perf_event_open", kind.PRIVILEGE_PERF_EVENT_OPEN, 298, 241, (336,)),
        Call("init_module", load, 175, 105, (128,), (2,)),
        Call("finit_module", load, 313, 273, (350,), (1,), descriptor=0),
        Call("delete_module", kind.PRIVILEGE_DELETE_MODULE, 176, 106, (129,), (0,)),
        Call("kexec_load", exec_kernel, 246, 104, (283,)),
        Call("kexec_file_load", exec_kernel, 320, 294, (), descriptor=0),
        Call("memfd_create", kind.PRIVILEGE_MEMFD_CREATE, 319, 279, (356,), (0,)),
        Call("process_vm_writev", kind.PRIVILEGE_VM_WRITE, 311, 271, (348,)),
        Call("keyctl", key, 250, 219, (288,)),
        Call("add_key", key, 248, 217, (286,), (0, 1)),
        Call("request_key", key, 249, 218, (287,), (0, 1)),
        Call("chmod", chmod, 90, None, (15,), (0,), path=0),
        Call("fchmod", chmod, 91, 52, (94,), descriptor=0),
        Call("fchmodat", chmod, 268, 53, (306,), (1,), descriptor=0, path=0),
        Call("fchmodat2", chmod, 452, 452, (452,), (1,), descriptor=0, path=0),
        Call("chown", chown, 92, None, (182, 212), (0,), path=0),
        Call("lchown", chown, 94, None, (16, 198), (0,), path=0),
        Call("fchown", chown, 93, 55, (95, 207), descriptor=0),
        Call("fchownat", chown, 260, 54, (298,), (1,), descriptor=0, path=0),
        Call("mknod", mknod, 133, None, (14,), (0,), path=0),
        Call("mknodat", mknod, 259, 33, (297,), (1,), descriptor=0, path=0),
        Call("symlink", symlink, 88, None, (83,), (0, 1), path=1),
        Call("symlinkat", symlink, 266, 36, (304,), (0, 2), descriptor=1, path=1),
        Call("link", link, 86, None, (9,), (0, 1), path=1),
        Call("linkat", link, 265, 37, (303,), (1, 3), descriptor=2, path=1),
        Call("kill", kill, 62, 129, (37,)),
        Call("tkill", kill, 200, 130, (238,)),
        Call("tgkill", kill, 234, 131, (270,)),
        Call("pidfd_send_signal", kill, 424, 424, (424,)),
        Call("open_by_handle_at", kind.PRIVILEGE_OPEN_BY_HANDLE, 304, 265, (342,)),
        Call("io_uring_setup", kind.PRIVILEGE_IO_URING_SETUP, 425, 425, (425,)),
    )


def _calls_of_files() -> tuple[Call, ...]:
    """Those of which it depends on the file, or on the attribute, whether they are told."""
    kind = RecordKind
    read, write, delete = kind.PRIVILEGE_FILE_READ, kind.PRIVILEGE_FILE_WRITE, kind.PRIVILEGE_FILE_DELETE
    rename, setxattr = kind.PRIVILEGE_FILE_RENAME, kind.PRIVILEGE_SETXATTR
    return (
        Call("open", read, 2, None, (5,), (0,), descriptor=RESULT, open_flags=2),
        Call("openat", read, 257, 56, (295,), (1,), descriptor=RESULT, open_flags=3),
        Call("openat2", read, 437, 437, (437,), (1,), descriptor=RESULT, open_flags=IN_OPEN_HOW),
        Call("creat", read, 85, None, (8,), (0,), descriptor=RESULT, open_flags=AS_CREAT),
        Call("truncate", write, 76, 45, (92,), (0,), path=0),
        Call("unlink", delete, 87, None, (10,), (0,), path=0),
        Call("unlinkat", delete, 263, 35, (301,), (1,), descriptor=0, path=0),
        Call("rename", rename, 82, None, (38,), (0, 1), path=0),
        Call("renameat", rename, 264, 38, (302,), (1, 3), descriptor=0, path=0),
        Call("renameat2", rename, 316, 276, (353,), (1, 3), descriptor=0, path=0),
        Call("connect", kind.PRIVILEGE_FILE_CONNECT, 42, 203, (362,), (SOCKET_PATH,)),
        Call("setxattr", setxattr, 188, 5, (226,), (0,), path=0),
        Call("lsetxattr", setxattr, 189, 6, (227,), (0,), path=0),
        Call("fsetxattr", setxattr, 190, 7, (228,), descriptor=0),
        Call("setxattrat", setxattr, 463, 463, (463,), (1,), descriptor=0, path=0),
    )


CALLS = (*_calls(), *_calls_of_files())
# What io_uring(7) can do in place of a call (uring.h).
REQUESTED_CALLS = ("openat", "unlinkat", "renameat", "linkat", "symlinkat", "connect")
REQUEST_KINDS = tuple(
    dict.fromkeys(kind for call in CALLS if call.name in REQUESTED_CALLS for kind in call.kinds)
)
IDENTITY_KINDS = tuple(dict.fromkeys(call.kind for call in CALLS if call.changes_identity))


def numbers(machine: str) -> dict[int, Call]:
    """By number, of programs that are built for the machine itself."""
    if machine == "x86_64":
        return {call.x86_64: call for call in CALLS if call.x86_64 is not None}
    return {call.generic: call for call in CALLS if call.generic is not None}


def compat_numbers(machine: str) -> dict[int, Call]:
    """Of 32-bit programs, where they are seen: on x86_64."""
    if machine != "x86_64":
        return {}
    return {number: call for call in CALLS for number in call.i386}


def identity(call: Call) -> int:
    """`call` of struct pw_privilege."""
    return CALLS.index(call) + 1


def recipe(call: Call) -> int:
    """In bits: 8 of the kind; 4 for each of three texts and 4 for the descriptor, the argument's number from
    1 on or 0 for none; 2 which text is the path, from 1 on; 1 whether the identity before is wanted; 4 for
    where open(2) and its like have their flags."""
    texts = [number + 1 for number in call.texts] + [0] * (3 - len(call.texts))
    descriptor = 0 if call.descriptor is None else call.descriptor + 1
    packed = call.kind.value
    for place, number in enumerate([*texts, descriptor]):
        packed |= number << (8 + 4 * place)
    path = 0 if call.path is None else call.path + 1
    return packed | path << 24 | call.changes_identity << 26 | call.open_flags << 27


def _mask_function(name: str, wanted: Mapping[int, Call]) -> Iterator[str]:
    """A word of bits for 64 numbers each: what every system call of the machine passes reads no memory."""
    yield f"static __always_inline u64 {name}(u64 word)"
    yield "{"
    for word in range(WORDS):
        bits = sum(1 << number % 64 for number in wanted if number // 64 == word)
        if bits:
            yield f"  if (word == {word}) return {bits:#x}ull;"
    yield "  return 0;"
    yield "}"


def _switch_function(name: str, wanted: Mapping[int, Call]) -> Iterator[str]:
    yield f"static __always_inline u32 {name}(u64 number)"
    yield "{"
    yield "  switch (number) {"
    for number, call in sorted(wanted.items()):
        yield f"    case {number}: return {identity(call)}; /* {call.name} */"
    yield "  }"
    yield "  return 0;"
    yield "}"


def _wanted(calls: Mapping[int, Call], off: Collection[RecordKind]) -> dict[int, Call]:
    return {number: call for number, call in calls.items() if not set(call.kinds) <= set(off)}


def header(machine: str, off: Collection[RecordKind] = ()) -> str:
    """What probes/syscalls.bpf.c includes as <linux/podwitness_calls.h>. Calls that tell only kinds in `off`
    are as others that are not looked at."""
    native, compat = _wanted(numbers(machine), off), _wanted(compat_numbers(machine), off)
    lines = ["#ifndef PW_LINUX_PODWITNESS_CALLS_H", "#define PW_LINUX_PODWITNESS_CALLS_H"]
    identities = {number: call for number, call in native.items() if call.changes_identity}
    compat_identities = {number: call for number, call in compat.items() if call.changes_identity}
    lines += [f"#define CALL_{call.name} {identity(call)}" for call in CALLS]
    lines += _mask_function("wanted_calls", {**compat, **native})
    lines += _mask_function("identity_calls", {**compat_identities, **identities})
    lines += _switch_function("call_of", native)
    lines += _switch_function("compat_call_of", compat)
    lines += ["static __always_inline u32 recipe_of(u32 call)", "{", "  switch (call) {"]
    lines += [f"    case {identity(call)}: return {recipe(call):#x};" for call in CALLS]
    lines += ["  }", "  return 0;", "}", "#endif", ""]
    return "\n".join(lines)
