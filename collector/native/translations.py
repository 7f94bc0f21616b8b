"""Connections that go on to another address than the client asked for, over ext/translations.h."""

from __future__ import annotations

import socket
from typing import Any, NamedTuple, Protocol

from collector._native import ffi, lib


class Place(Protocol):
    @property
    def address(self) -> bytes: ...

    @property
    def port(self) -> int: ...


class Translated(Protocol):
    """What probes.conntrack.Translation has."""

    @property
    def protocol(self) -> int: ...

    @property
    def source(self) -> Place: ...

    @property
    def destination(self) -> Place: ...

    @property
    def translated_source(self) -> Place: ...

    @property
    def translated_destination(self) -> Place: ...


class Found(NamedTuple):
    source: tuple[bytes, int]
    destination: tuple[bytes, int]


class Translations:
    """Bounded: what is full gives up the oldest."""

    def __init__(self) -> None:
        known = lib.pw_translations_new()
        if known == ffi.NULL:
            raise MemoryError("translated connections")
        self.table = ffi.gc(known, lib.pw_translations_free)

    def add(self, one: Translated) -> None:
        made = ffi.new("struct pw_translation *")
        made.family = _family(one.source.address)
        made.protocol = one.protocol
        _put(made.source, one.source)
        _put(made.destination, one.destination)
        _put(made.translated_source, one.translated_source)
        _put(made.translated_destination, one.translated_destination)
        lib.pw_translations_add(self.table, made)

    def find(self, protocol: int, source: Place, destination: Place) -> Found | None:
        ends = ffi.new("struct pw_place[2]")
        _put(ends[0], source)
        _put(ends[1], destination)
        family = _family(source.address)
        found = lib.pw_translations_find(
            self.table, family, protocol, ffi.addressof(ends[0]), ffi.addressof(ends[1])
        )
        if found == ffi.NULL:
            return None
        size = len(source.address)
        places = (found.translated_source, found.translated_destination)
        return Found(*((bytes(ffi.buffer(place.address, size)), int(place.port)) for place in places))


def _family(address: bytes) -> int:
    return int(socket.AF_INET if len(address) == 4 else socket.AF_INET6)


def _put(to: Any, place: Place) -> None:
    ffi.memmove(to.address, place.address.ljust(16, b"\0"), 16)
    to.port = place.port
