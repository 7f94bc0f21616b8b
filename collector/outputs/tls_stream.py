"""A TLS session without a socket: bytes to be sent become records, and records that arrive become bytes.

A session that writes to its socket makes a system call for each record of 16 KiB, and wakes
the receiver as often. Here records gather, to be sent together: the kernel takes a fifth less
CPU, and half of that goes into the copy in between.
"""

from __future__ import annotations

import contextlib
import socket
import ssl

from collector.native.sealing import Seal, Waits, seal_of

# A receiver is woken once for these bytes, and a processor's second cache holds them three times: sealed,
# gathered, in the kernel. 64 KiB take a fifth more CPU, 1 MiB in four connections a tenth more.
BATCH_BYTES = 512 << 10


class TlsStream:
    """The client's end. What is sealed has to be sent in the order in which it was taken."""

    def __init__(self, context: ssl.SSLContext, server_name: str) -> None:
        self._context = context
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._session = context.wrap_bio(self._incoming, self._outgoing, server_hostname=server_name)
        self._seal: Seal | None = None
        self._unsent = memoryview(b"")

    def shake_hands(self) -> bool:
        """Whether the handshake is complete; else what is sealed has to be sent, and the answer fed.

        Raises SSLError.
        """
        try:
            self._session.do_handshake()
        except ssl.SSLWantReadError:
            return False
        return True

    def gather(self) -> None:
        """To be called when hands are shaken and all of that is sent: from now on C gathers and sends."""
        self._seal = seal_of(self._session, self._context, BATCH_BYTES)

    def send(self, sock: socket.socket, view: memoryview, *, flush: bool) -> tuple[memoryview, Waits]:
        """Seals bytes and sends a batch whenever there is one, at last what is left too if `flush`.

        Returns the bytes that are still to be given, and what to wait for before that. Raises SSLError,
        OSError.
        """
        if self._seal is None:
            return self._send_copied(sock, view, flush)
        taken, waits = self._seal.send(sock.fileno(), view, flush=flush)
        return view[taken:], waits

    def _send_copied(self, sock: socket.socket, view: memoryview, flush: bool) -> tuple[memoryview, Waits]:
        """The same where OpenSSL's session can't be got at."""
        while True:
            if self._unsent or self._outgoing.pending >= BATCH_BYTES or (flush and not view):
                self._unsent = self._unsent or memoryview(self._outgoing.read())
                try:
                    while self._unsent:
                        self._unsent = self._unsent[sock.send(self._unsent) :]
                except BlockingIOError:
                    return view, Waits.ROOM
            if not view:
                return view, Waits.NOTHING
            try:
                view = view[self._session.write(view[:BATCH_BYTES]) :]
            except ssl.SSLWantReadError:
                return view, Waits.RECEIVER

    @property
    def sealed_bytes(self) -> int:
        """What there is to be sent."""
        if self._seal:
            return self._seal.pending_bytes
        return len(self._unsent) + self._outgoing.pending

    def take_sealed(self) -> bytes:
        """What there is to be sent of the handshake."""
        return self._outgoing.read()

    def feed(self, data: bytes) -> None:
        """What the socket gave; nothing: the receiver has closed it."""
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()

    @property
    def unopened_bytes(self) -> int:
        """What was fed and not opened."""
        return self._incoming.pending + self._session.pending()

    def open(self, most: int) -> bytes | None:
        """Some bytes that the receiver sent, b"" after its last; None: more has to be fed. Raises SSLError.

        An end without TLS's own is one as well, as many receivers end like that.
        """
        try:
            return self._session.read(most)
        except ssl.SSLWantReadError:
            return None
        except (ssl.SSLEOFError, ssl.SSLZeroReturnError):
            return b""

    def end(self) -> None:
        """Seals that nothing will follow."""
        with contextlib.suppress(ssl.SSLError):
            self._session.unwrap()
