"""collector.native.status: the extension's codes as exceptions."""

from __future__ import annotations

import errno

import pytest
from collector._native import ffi, lib

from collector.native.status import check


def test_what_went_well_raises_nothing() -> None:
    check(lib.PW_OK, "anything")


def test_a_system_call_that_failed_is_told_by_its_errno() -> None:
    ffi.errno = errno.ENOSPC
    with pytest.raises(OSError, match="No space left on device: 'a watch'") as raised:
        check(lib.PW_E_SYSCALL, "a watch")
    assert raised.value.errno == errno.ENOSPC


@pytest.mark.parametrize(
    ("status", "kind"),
    [(lib.PW_E_MEMORY, MemoryError), (lib.PW_E_OUTPUT_FULL, MemoryError), (lib.PW_E_RECORD_SIZE, ValueError)],
)
def test_others_are_told_by_what_and_the_codes_own_sentence(status: int, kind: type[Exception]) -> None:
    sentence = ffi.string(lib.pw_error_text(status)).decode()
    with pytest.raises(kind, match=f"^the drain: {sentence}$"):
        check(status, "the drain")
    with pytest.raises(kind, match=f"^{sentence}$"):
        check(status)
