"""HELO, PING, PONG from the server's side of the forward protocol, without a socket."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgpack

MAX_PING_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Gate:
    """Who is let in: those that know the key, and where there are users, are one of them."""

    shared_key: str
    self_hostname: str
    users: Mapping[str, str] = field(default_factory=dict)  # passwords by name


class Refused(Exception):
    """The client is not let in; `answer` is to be sent before the connection is closed."""

    def __init__(self, reason: str, answer: bytes) -> None:
        super().__init__(reason)
        self.answer = answer


class ServerHandshake:
    """One client's handshake."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._nonce = secrets.token_bytes(16)
        self._auth = secrets.token_bytes(16) if gate.users else b""

    def greeting(self) -> bytes:
        """HELO."""
        return _pack(["HELO", {"nonce": self._nonce, "auth": self._auth, "keepalive": True}])

    def answer(self, ping: bytes) -> bytes:
        """PONG to a whole PING. Raises Refused."""
        message = _unpack(ping)
        match message:
            case [b"PING", bytes(hostname), bytes(salt), bytes(digest), bytes(username), bytes(password)]:
                pass
            case _:
                raise self._refused("did not begin with PING")
        if not _equal(digest, self._digest(salt, hostname)):
            raise self._refused("shared_key mismatch")
        if self._gate.users and not self._knows(username, password):
            raise self._refused("username/password mismatch")
        own_name = self._gate.self_hostname.encode()
        return _pack(["PONG", True, "", self._gate.self_hostname, self._digest(salt, own_name).decode()])

    def _knows(self, username: bytes, password: bytes) -> bool:
        known = self._gate.users.get(username.decode("utf-8", "surrogateescape"))
        # An unknown user takes as long as a known one.
        expected = _hex_sha512(self._auth, username, (known or "").encode())
        return _equal(password, expected) and known is not None

    def _digest(self, salt: bytes, hostname: bytes) -> bytes:
        return _hex_sha512(salt, hostname, self._nonce, self._gate.shared_key.encode())

    @staticmethod
    def _refused(reason: str) -> Refused:
        return Refused(reason, _pack(["PONG", False, reason, "", ""]))


def _hex_sha512(*parts: bytes) -> bytes:
    return hashlib.sha512(b"".join(parts)).hexdigest().encode()


def _equal(one: bytes, other: bytes) -> bool:
    return hmac.compare_digest(one, other)


def _pack(message: Any) -> bytes:
    packed: bytes = msgpack.packb(message)
    return packed


def _unpack(message: bytes) -> Any:
    try:
        return msgpack.unpackb(message, raw=True, strict_map_key=False)
    except (ValueError, TypeError, msgpack.UnpackException):
        return None
