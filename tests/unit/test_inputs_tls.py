"""TLS settings of inputs that listen. Sessions: test_inputs_forward.py."""

from __future__ import annotations

import logging
import ssl
from pathlib import Path

import pytest

from collector.certificates import TlsFilesUnusable
from collector.inputs.tls import ServerTlsSettings, server_context, server_sessions
from tests.certificates import Authority


def test_keys_that_need_each_other() -> None:
    assert server_sessions(ServerTlsSettings(), logging.getLogger("test")) is None
    with pytest.raises(ValueError, match=r"tls without tls\.crt_file"):
        ServerTlsSettings(tls=True)
    with pytest.raises(ValueError, match=r"verify_client_cert without tls\.ca_file"):
        ServerTlsSettings(verify_client_cert=True)
    with pytest.raises(ValueError, match="above"):
        ServerTlsSettings(min_version="TLSv1.3", max_version="TLSv1.2")


def test_which_clients_are_let_in(tmp_path: Path) -> None:
    authority = Authority.make(tmp_path)
    crt_file, key_file = map(str, authority.issue("server"))
    ca_file = str(authority.certificate)

    def mode(**settings: object) -> ssl.VerifyMode:
        made = ServerTlsSettings(tls=True, crt_file=crt_file, key_file=key_file, **settings)  # type: ignore[arg-type]
        return server_context(made).verify_mode

    assert mode() is ssl.CERT_NONE
    assert mode(ca_file=ca_file) is ssl.CERT_OPTIONAL
    assert mode(ca_file=ca_file, verify=False) is ssl.CERT_NONE
    assert mode(ca_file=ca_file, verify_client_cert=True) is ssl.CERT_REQUIRED
    with pytest.raises(TlsFilesUnusable, match="Nobody can connect"):
        server_context(ServerTlsSettings(tls=True, crt_file=str(tmp_path / "none")))
