"""ext/community_id.c against hashlib, and against what the specification publishes."""

from __future__ import annotations

import hashlib
import ipaddress

import pytest
from collector._native import ffi, lib
from hypothesis import given
from hypothesis import strategies as st

from tests.reference.community import community_id

# https://github.com/corelight/community-id-spec, baseline/baseline_deflt.json.
PUBLISHED = (
    (58, "fe80::200:86ff:fe05:80da", "fe80::260:97ff:fe07:69ea", 135, 136, "1:dGHyGvjMfljg6Bppwm3bg0LO8TY="),
    (58, "fe80::260:97ff:fe07:69ea", "fe80::200:86ff:fe05:80da", 136, 135, "1:dGHyGvjMfljg6Bppwm3bg0LO8TY="),
    (58, "fe80::260:97ff:fe07:69ea", "fe80::200:86ff:fe05:80da", 135, 136, "1:zavyT/cezQr1fmImYCwYnMXbgck="),
    (58, "3ffe:501:1800:2345::2", "3ffe:507:0:1:200:86ff:fe05:80da", 3, 0, "1:2ObVBgIn28oZvibYZhZMBgh7WdQ="),
    (58, "3ffe:507:0:1:200:86ff:fe05:80da", "3ffe:501:0:1001::2", 128, 129, "1:+TW+HtLHvV1xnGhV1lv7XoJrqQg="),
    (58, "3ffe:501:0:1001::2", "3ffe:507:0:1:200:86ff:fe05:80da", 129, 128, "1:+TW+HtLHvV1xnGhV1lv7XoJrqQg="),
    (58, "fe80::200:86ff:fe05:80da", "ff02::2", 133, 134, "1:hO+sN4H+MG5MY/8hIrXPqc4ZQz0="),
    (58, "fe80::260:97ff:fe07:69ea", "ff02::1", 134, 133, "1:pkvHqCL88/tg1k4cPigmZXUtL00="),
    (1, "192.168.0.89", "192.168.0.1", 8, 0, "1:X0snYXpgwiv9TZtqg64sgzUn6Dk="),
    (1, "192.168.0.1", "192.168.0.89", 0, 8, "1:X0snYXpgwiv9TZtqg64sgzUn6Dk="),
    (1, "10.0.0.1", "10.0.0.2", 11, 0, "1:YHxtAirCG//0OzkcVAukqKQN9xM="),
    (6, "2607:f8b0:400c:c03::1a", "2001:470:e5bf:dead:4957:2174:e82c:4887", 25, 63943,
     "1:/qFaeAR+gFe1KYjMzVDsMv+wgU4="),
    (132, "192.168.170.8", "192.168.170.56", 7, 7, "1:MP2EtRCAUIZvTw6MxJHLV7N7JDs="),
    (6, "128.232.110.120", "66.35.250.204", 34855, 80, "1:LQU9qZlK+B5F3KDmev6m5PMibrg="),
    (6, "66.35.250.204", "128.232.110.120", 80, 34855, "1:LQU9qZlK+B5F3KDmev6m5PMibrg="),
    (17, "192.168.1.52", "8.8.8.8", 54585, 53, "1:d/FP5EW3wiY1vCndhwleRRKHowQ="),
    (17, "8.8.8.8", "192.168.1.52", 53, 54585, "1:d/FP5EW3wiY1vCndhwleRRKHowQ="),
)  # fmt: skip


def native(
    protocol: int, source: bytes, destination: bytes, source_port: int, destination_port: int, seed: int = 0
) -> str:
    ends = [ffi.new("uint8_t[]", address) for address in (source, destination)]
    tuple_ = ffi.new(
        "struct pw_tuple *",
        {
            "source_address": ends[0],
            "destination_address": ends[1],
            "source_port": source_port,
            "destination_port": destination_port,
            "address_bytes": len(source),
            "protocol": protocol,
        },
    )
    made = ffi.new("char[]", lib.PW_COMMUNITY_ID_BYTES)
    lib.pw_community_id(tuple_, seed, made)
    return bytes(ffi.buffer(made)).decode()


@pytest.mark.parametrize("published", PUBLISHED, ids=lambda one: f"{one[0]}-{one[1]}-{one[3]}")
def test_published_ids(published: tuple[int, str, str, int, int, str]) -> None:
    protocol, source, destination, source_port, destination_port, wanted = published
    packed = [ipaddress.ip_address(address).packed for address in (source, destination)]
    arguments = (protocol, packed[0], packed[1], source_port, destination_port)
    assert native(*arguments) == community_id(*arguments) == wanted


ADDRESSES = st.sampled_from((4, 16)).flatmap(
    lambda size: st.tuples(*[st.binary(min_size=size, max_size=size)] * 2)
)
PORTS = st.sampled_from((0, 3, 8, 128, 129, 136)) | st.integers(0, 65535)


@given(st.sampled_from((1, 6, 17, 58, 132)), ADDRESSES, PORTS, PORTS, st.integers(0, 65535))
def test_same_as_by_hashlib(
    protocol: int, ends: tuple[bytes, bytes], one: int, other: int, seed: int
) -> None:
    assert native(protocol, *ends, one, other, seed) == community_id(protocol, *ends, one, other, seed)


@given(ADDRESSES, PORTS, PORTS)
def test_both_directions_have_the_same(ends: tuple[bytes, bytes], one: int, other: int) -> None:
    assert native(17, *ends, one, other) == native(17, ends[1], ends[0], other, one)


@given(st.binary(max_size=lib.PW_SHA1_SHORT_BYTES))
def test_sha1(text: bytes) -> None:
    digest = ffi.new("uint8_t[]", lib.PW_SHA1_BYTES)
    lib.pw_sha1_short(text, len(text), digest)
    assert ffi.buffer(digest)[:] == hashlib.sha1(text).digest()
