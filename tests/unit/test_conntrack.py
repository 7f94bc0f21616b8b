"""probes.conntrack reads translations out of messages, and nothing out of what is none."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes.conntrack import Place, Translation, open_conntrack, translations
from tests.unit.conntrack_messages import CLIENT, NODE, POD, SERVED, SERVICE, message, side


def place(shown: tuple[str, int]) -> Place:
    family = socket.AF_INET6 if ":" in shown[0] else socket.AF_INET
    return Place(socket.inet_pton(family, shown[0]), shown[1])


def test_a_service() -> None:
    found = Translation(6, place(CLIENT), place(SERVICE), place(CLIENT), place(POD))
    assert list(translations(SERVED)) == [found]


def test_masquerading() -> None:
    sent = message(side(1, 17, CLIENT, ("9.9.9.9", 53)), side(2, 17, ("9.9.9.9", 53), NODE))
    far = place(("9.9.9.9", 53))
    assert list(translations(sent)) == [Translation(17, place(CLIENT), far, place(NODE), far)]


def test_ipv6() -> None:
    client, service, pod = ("fd00::2", 4000), ("fd00:96::1", 443), ("fd00::9", 8443)
    (found,) = translations(message(side(1, 6, client, service), side(2, 6, pod, client)))
    assert (found.destination, found.translated_destination) == (place(service), place(pod))


def test_what_is_not_translated_or_not_new() -> None:
    assert list(translations(message(side(1, 6, CLIENT, POD), side(2, 6, POD, CLIENT)))) == []
    assert list(translations(message(side(1, 6, CLIENT, SERVICE), side(2, 6, POD, CLIENT), kind=0x102))) == []


def test_several_in_one_datagram() -> None:
    assert len(list(translations(SERVED * 3))) == 3


@given(st.integers(0, len(SERVED)), st.binary(max_size=8), st.integers(0, len(SERVED)))
def test_damaged_messages_are_left_out(at: int, noise: bytes, length: int) -> None:
    damaged = (SERVED[:at] + noise + SERVED[at + len(noise) :])[:length]
    for one in translations(damaged):
        assert one.protocol < 256


def test_a_kernel_that_tracks_nothing_is_not_made_to(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="nf_conntrack_count"):
        open_conntrack(tmp_path / "nf_conntrack_count")
