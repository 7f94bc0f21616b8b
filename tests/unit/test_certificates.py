"""Limits of a context. That files are read again: test_tls.py (outputs), test_inputs_forward.py (inputs)."""

from __future__ import annotations

import logging
import ssl

import pytest

from collector.certificates import ContextOfFiles, TlsFilesUnusable, TlsLimits, check_ciphers


def test_versions_and_ciphers() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    TlsLimits("TLSv1.2", "TLSv1.2", "ECDHE-ECDSA-AES256-GCM-SHA384").limit(context)
    assert (context.minimum_version, context.maximum_version) == (
        ssl.TLSVersion.TLSv1_2,
        ssl.TLSVersion.TLSv1_2,
    )
    names = {cipher["name"] for cipher in context.get_ciphers()}
    assert {name for name in names if not name.startswith("TLS_")} == {"ECDHE-ECDSA-AES256-GCM-SHA384"}


def test_ciphers_that_openssl_does_not_know() -> None:
    check_ciphers("HIGH:!aNULL")
    with pytest.raises(ValueError, match="knows none"):
        check_ciphers("none-such")


def test_what_can_not_be_built_is_told_to_the_operator() -> None:
    def build() -> ssl.SSLContext:
        raise TlsFilesUnusable("No.")

    with pytest.raises(TlsFilesUnusable, match=r"No\."):
        ContextOfFiles([], build, logging.getLogger("test"))
