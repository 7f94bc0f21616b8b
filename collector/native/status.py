"""What the extension's functions return, as exceptions."""

from __future__ import annotations

import os

from collector._native import ffi, lib


def check(status: int, what: str = "") -> None:
    """Raises OSError, by errno; MemoryError; ValueError for what was given to the extension."""
    if status == lib.PW_OK:
        return
    if status == lib.PW_E_SYSCALL:
        raise OSError(ffi.errno, os.strerror(ffi.errno), what or None)
    said = ": ".join(filter(None, (what, ffi.string(lib.pw_error_text(status)).decode())))
    wants_room = status in (lib.PW_E_MEMORY, lib.PW_E_OUTPUT_FULL)
    raise MemoryError(said) if wants_room else ValueError(said)
