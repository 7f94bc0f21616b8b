"""collector.packing beside msgpack.packb()."""

from __future__ import annotations

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector import packing

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary(),
    lambda inner: st.lists(inner, max_size=20) | st.dictionaries(st.text(), inner, max_size=20),
)


@given(st.lists(values, min_size=1, max_size=5))
def test_each_value_is_packed_by_itself(given_values: list[object]) -> None:
    assert [packing.pack(one) for one in given_values] == [msgpack.packb(one) for one in given_values]


def test_text_that_is_not_utf_8_comes_through() -> None:
    assert packing.pack("a\udcff") == b"\xa2a\xff"


def test_what_can_not_be_packed_leaves_nothing_behind() -> None:
    with pytest.raises(TypeError):
        packing.pack(["begun", object()])
    assert packing.pack(1) == b"\x01"


def test_the_buffer_of_a_large_value_is_not_kept() -> None:
    packer = packing._packer
    assert packing.pack(b"a" * 100) == b"\xc4\x64" + b"a" * 100
    assert packing._packer is packer
    assert len(packing.pack(b"a" * packing.KEPT_BYTES)) > packing.KEPT_BYTES
    assert packing._packer is not packer
