"""Both addresses of a connection that is translated, and the bound of what is known."""

from __future__ import annotations

import struct
from typing import Any

import msgpack
from collector._native import lib

from collector.native.containers import Fragment
from collector.native.event_kinds import Scope
from collector.native.events import EventEncoder
from collector.native.translations import Found, Translations
from probes.conntrack import Place, Translation
from tests.reference import event_records as records

CLIENT, SERVICE = Place(bytes([10, 1, 0, 2]), 40000), Place(bytes([10, 96, 0, 1]), 443)
POD, NODE = Place(bytes([10, 1, 0, 9]), 8443), Place(bytes([10, 0, 0, 5]), 50000)


def encoded(known: Translations, **members: Any) -> Any:
    encoder = EventEncoder(1)
    encoder.know(known)
    fields: dict[str, Any] = {"family": 2, "role": lib.PW_CLIENT, "local_port": 40000, "remote_port": 443}
    ends = {
        "local_address": CLIENT.address.ljust(16, b"\0"),
        "remote_address": SERVICE.address.ljust(16, b"\0"),
    }
    record = records.record(lib.PW_TCP_CONNECT, **{**fields, **ends, **members})
    (parts,) = encoder.encode(record, Fragment(b"", 0, Scope.HOST))
    return msgpack.unpackb(parts.network.entries)[1]


def known_as(translated_source: Place, translated_destination: Place) -> Translations:
    known = Translations()
    known.add(Translation(6, CLIENT, SERVICE, translated_source, translated_destination))
    return known


def test_a_service() -> None:
    made = encoded(known_as(CLIENT, POD))
    assert made["destination"] == {"ip": "10.96.0.1", "port": 443, "nat": {"ip": "10.1.0.9", "port": 8443}}
    assert "nat" not in made["source"]


def test_masquerading() -> None:
    made = encoded(known_as(NODE, SERVICE))
    assert made["source"] == {"ip": "10.1.0.2", "port": 40000, "nat": {"ip": "10.0.0.5", "port": 50000}}
    assert "nat" not in made["destination"]


def test_on_an_ipv6_socket() -> None:
    prefix = bytes(10) + b"\xff\xff"
    ends = {"local_address": prefix + CLIENT.address, "remote_address": prefix + SERVICE.address}
    assert encoded(known_as(CLIENT, POD), family=10, **ends)["destination"]["nat"]["ip"] == "10.1.0.9"


def test_only_the_client_and_only_that_connection() -> None:
    known = known_as(CLIENT, POD)
    assert "nat" not in encoded(known, role=lib.PW_SERVER)["destination"]
    assert "nat" not in encoded(known, local_port=40001)["destination"]


def test_bound() -> None:
    known = Translations()
    count = 3 * lib.PW_TRANSLATIONS
    for number in range(count):
        known.add(Translation(6, Place(struct.pack("!I", number), 1), SERVICE, CLIENT, POD))
    kept = [n for n in range(count) if known.find(6, Place(struct.pack("!I", n), 1), SERVICE)]
    assert lib.PW_TRANSLATIONS // 2 < len(kept) <= lib.PW_TRANSLATIONS
    assert sum(kept) / len(kept) > count * 2 / 3


def test_a_port_that_is_used_again() -> None:
    known = known_as(CLIENT, POD)
    known.add(Translation(6, CLIENT, SERVICE, CLIENT, NODE))
    assert known.find(6, CLIENT, SERVICE) == Found((CLIENT.address, 40000), (NODE.address, 50000))
