"""System calls that Python has no function for, by their numbers, with what the C library would return."""

from __future__ import annotations

import ctypes
import errno
import os
import platform

from probes.syscalls import CALLS, numbers

_libc = ctypes.CDLL(None, use_errno=True)
_NUMBERS = {call.name: number for number, call in numbers(platform.machine()).items()}
assert set(_NUMBERS) == {call.name for call in CALLS} or platform.machine() != "x86_64"


def call(name: str, *arguments: int | bytes | None) -> int:
    """What the kernel returned: an errno is negative."""
    # All six: syscall(2) passes on whatever the registers of absent ones hold, to clone() as a stack.
    six = (*arguments, *(0,) * (6 - len(arguments)))
    given = [ctypes.c_char_p(one) if isinstance(one, bytes) else ctypes.c_long(one or 0) for one in six]
    result = int(_libc.syscall(ctypes.c_long(_NUMBERS[name]), *given))
    return -ctypes.get_errno() if result == -1 else result


def refused(name: str, *arguments: int | bytes | None) -> str:
    """Name of the errno that the call fails with."""
    result = call(name, *arguments)
    assert result < 0, os.strerror(0)
    return errno.errorcode[-result]
