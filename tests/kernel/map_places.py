"""The places of a map that is an array, read and written by bpf(2)."""

from __future__ import annotations

import ctypes
import struct

from probes import bpf

MAP_LOOKUP_ELEM, MAP_UPDATE_ELEM = 1, 2
PLACES = 32768


class MapPlaces:
    """`head` is the form of what each place begins with."""

    def __init__(self, fd: int, head: str, place_bytes: int) -> None:
        self._fd = fd
        self._head = struct.Struct(head)
        self._key = ctypes.c_uint32()
        self._place = ctypes.create_string_buffer(place_bytes)

    def head(self, place: int) -> tuple[int, ...]:
        self._call(MAP_LOOKUP_ELEM, place)
        return self._head.unpack_from(self._place.raw)

    def put(self, place: int, *head: int) -> None:
        """Zeros behind the head."""
        ctypes.memset(self._place, 0, len(self._place))
        self._head.pack_into(self._place, 0, *head)
        self._call(MAP_UPDATE_ELEM, place)

    def _call(self, command: int, place: int) -> None:
        self._key.value = place
        where = (ctypes.addressof(self._key), ctypes.addressof(self._place))
        bpf.bpf(command, struct.pack("<I4xQQQ", self._fd, *where, 0))
