"""TLS records gathered and sent by ext/seal.c, in sessions that Python's ssl module has made."""

from __future__ import annotations

import _ssl  # private, and what it keeps of a session is as well: see _session_of
import enum
import os
import ssl
import sys
from typing import Any

from collector._native import ffi, lib

# What a session of the ssl module begins with, after what every object has, in all versions from 3.7 to 3.14:
# the socket (none with BIOs), OpenSSL's session, the context.
_SOCKET, _SESSION, _CONTEXT = (object.__basicsize__ // ffi.sizeof("void *") + place for place in range(3))


class Waits(enum.Enum):
    """What sealing and sending has to wait for."""

    NOTHING = lib.PW_SEAL_DONE
    ROOM = lib.PW_SEAL_ROOM
    RECEIVER = lib.PW_SEAL_RECEIVER


class Seal:
    """Where the records of a session gather from now on. See `seal_of`."""

    def __init__(self, session: Any, batch_bytes: int) -> None:
        """Raises MemoryError."""
        seal = lib.pw_seal_open(session, batch_bytes)
        if seal == ffi.NULL:
            raise MemoryError
        self._seal = ffi.gc(seal, lib.pw_seal_close)
        self._taken = ffi.new("size_t *")

    def send(self, fd: int, view: memoryview, *, flush: bool) -> tuple[int, Waits]:
        """How many bytes are sealed, to be given no more, and what to wait for before the others.

        Raises OSError of the socket, ssl.SSLError.
        """
        status = lib.pw_seal_send(self._seal, fd, ffi.from_buffer(view), len(view), flush, self._taken)
        if status == lib.PW_SEAL_SYSCALL:
            raise OSError(ffi.errno, os.strerror(ffi.errno))
        if status == lib.PW_SEAL_BROKEN:
            raise self._error()
        return self._taken[0], Waits(status)

    @property
    def pending_bytes(self) -> int:
        """What is sealed and not sent."""
        return int(lib.pw_seal_pending(self._seal))

    def _error(self) -> ssl.SSLError:
        reason = lib.pw_seal_reason(self._seal)
        said = ffi.string(reason).decode() if reason != ffi.NULL else "the session is over"
        error = ssl.SSLError(ssl.SSLErrorNumber.SSL_ERROR_SSL, said)
        error.reason = said.upper().replace(" ", "_")
        return error


def seal_of(session: ssl.SSLObject, context: ssl.SSLContext, batch_bytes: int) -> Seal | None:
    """A seal for a session over BIOs whose hands are shaken and whose records are all taken.

    None where there is no getting at OpenSSL's session: the ssl module of this Python has an OpenSSL of its
    own inside, or keeps a session otherwise.
    """
    found = _session_of(session, context)
    return None if found is None else Seal(found, batch_bytes)


def _session_of(session: ssl.SSLObject, context: ssl.SSLContext) -> Any:
    """OpenSSL's session, which Python does not give away.

    It stands between two members whose values are known, and nothing of it is touched unless those are right.
    """
    inner = getattr(session, "_sslobj", None)
    if sys.implementation.name != "cpython" or inner is None or not lib.pw_seal_ready(_module()):
        return None
    if type(inner).__basicsize__ <= _CONTEXT * ffi.sizeof("void *"):
        return None
    members = ffi.cast("void **", id(inner))
    if members[_SOCKET] != ffi.NULL or members[_CONTEXT] != ffi.cast("void *", id(context)):
        return None
    return members[_SESSION]


def _module() -> bytes:
    """The file of the ssl module, which knows where its functions of OpenSSL are."""
    return os.fsencode(getattr(_ssl, "__file__", ""))
