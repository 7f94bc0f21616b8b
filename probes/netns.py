"""Network namespaces: which there are, and how a thread makes sockets in one that is not its own."""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_CLONE_NEWNET = 0x40000000
NOT_ENTERED = (
    "podwitness is not in the node's network namespace (hostNetwork), and may not enter it "
    "(SYS_ADMIN and SYS_PTRACE)"
)


def _load_setns() -> ctypes._NamedFuncPointer:
    """os.setns() comes with Python 3.12."""
    function = ctypes.CDLL(None, use_errno=True).setns
    function.argtypes = (ctypes.c_int, ctypes.c_int)
    function.restype = ctypes.c_int
    return function


_setns = _load_setns()


# Process 1 may hide its namespace even from root; 2 makes the kernel's threads, which are in the first one.
_OF_THE_NODE = (1, 2)
# Each namespace has a file of its own there. It may be looked at where the namespace may not.
_OWN_FILE = "/proc/{}/net/dev"


def is_nodes() -> bool:
    """Whether this thread is in the node's network namespace, as far as process 1 is the node's (hostPID)."""
    try:
        nodes, ours = (os.stat(_OWN_FILE.format(pid)).st_ino for pid in (1, "thread-self"))
    except OSError:
        return True
    return nodes == ours


def node() -> int:
    """Inode number of the node's network namespace; 0 where it may not be seen."""
    if is_nodes():
        return namespace_of("thread-self")
    pid = _process_of_the_node()
    return namespace_of(pid) if pid else 0


def _process_of_the_node() -> int:
    for pid in _OF_THE_NODE:
        with suppress(OSError):
            namespace_of(pid)
            return pid
    return 0


@contextmanager
def inside_nodes() -> Iterator[None]:
    """As `inside`. Raises OSError: the node's namespace is another one, and may not be entered."""
    if is_nodes():
        yield
        return
    pid = _process_of_the_node()
    if not pid:
        raise PermissionError(errno.EPERM, NOT_ENTERED)
    with inside(pid):
        yield


def namespace_of(pid: int | str) -> int:
    """Inode number of a process's network namespace. Raises OSError: it is gone, or may not be seen."""
    return os.stat(f"/proc/{pid}/ns/net").st_ino


@contextmanager
def inside(pid: int | str) -> Iterator[None]:
    """This thread, and no other, is in the network namespace of a process. Sockets made here stay there.

    Raises OSError: EPERM without the capability SYS_ADMIN, ENOENT when the process is gone.
    """
    own = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        other = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            _enter(other)
        finally:
            os.close(other)
        try:
            yield
        finally:
            _enter(own)
    finally:
        os.close(own)


def _enter(descriptor: int) -> None:
    if _setns(descriptor, _CLONE_NEWNET) < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
