"""TLS settings become contexts; files are read again when they change. Sessions: test_outputs_forward.py."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import ssl
from pathlib import Path

import pytest

from collector.certificates import TlsFilesUnusable
from collector.outputs.tls import TlsSessions, TlsSettings
from tests.certificates import Authority

LOG = logging.getLogger("test")


def sessions(**settings: object) -> TlsSessions:
    return TlsSessions(dataclasses.replace(TlsSettings(), **settings), LOG)  # type: ignore[arg-type]


def test_what_is_checked() -> None:
    assert sessions().context().verify_mode is ssl.CERT_REQUIRED
    assert not sessions().context().check_hostname
    assert sessions(verify_hostname=True).context().check_hostname
    unverified = sessions(verify=False, verify_hostname=True).context()
    assert (unverified.verify_mode, unverified.check_hostname) == (ssl.CERT_NONE, False)
    assert sessions().server_name("logs.example") == "logs.example"
    assert sessions(vhost="other.example").server_name("logs.example") == "other.example"


def test_a_directory_of_authorities(tmp_path: Path) -> None:
    authority = Authority.make(tmp_path)
    server = authority.server_context()

    def shake(client: ssl.SSLContext) -> None:
        to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
        ends = (
            client.wrap_bio(to_client, to_server, server_hostname="localhost"),
            server.wrap_bio(to_server, to_client, server_side=True),
        )
        for _ in range(4):
            for end in ends:
                with contextlib.suppress(ssl.SSLWantReadError):
                    end.do_handshake()

    shake(sessions(ca_path=str(authority.hashed())).context())
    with pytest.raises(ssl.SSLCertVerificationError):
        shake(sessions(ca_path=str(tmp_path)).context())


def test_versions() -> None:
    usual, new = sessions().context(), sessions(min_version="TLSv1.3").context()
    assert (usual.minimum_version, usual.maximum_version) == (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)
    assert (new.minimum_version, new.maximum_version) == (ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_3)
    with pytest.raises(ValueError, match=r"tls\.min_version above"):
        sessions(min_version="TLSv1.3", max_version="TLSv1.2")


def test_a_key_needs_its_certificate() -> None:
    with pytest.raises(ValueError, match=r"tls\.key_file without tls\.crt_file"):
        sessions(key_file="client.key")


def test_a_context_stays_while_its_files_do(tmp_path: Path) -> None:
    authority = Authority.make(tmp_path)
    subject = sessions(ca_file=str(authority.certificate))
    first = subject.context()
    assert subject.context() is first
    authority.certificate.write_bytes(Authority.make(tmp_path / "2").certificate.read_bytes() + b"\n")
    second = subject.context()
    assert second is not first
    authority.certificate.unlink()
    assert subject.context() is second
    assert subject.context() is second


def test_a_key_that_does_not_belong_to_its_certificate(tmp_path: Path) -> None:
    authority = Authority.make(tmp_path)
    crt_file, _ = authority.issue("one")
    _, key_file = authority.issue("two")
    with pytest.raises(TlsFilesUnusable, match=r"can't be used: .*KEY_VALUES_MISMATCH"):
        sessions(crt_file=str(crt_file), key_file=str(key_file))


def test_a_wrong_password_does_not_ask_at_the_terminal(tmp_path: Path) -> None:
    authority = Authority.make(tmp_path)
    crt_file, key_file = map(str, authority.issue("one", password="right"))
    for password in ("", "wrong"):
        with pytest.raises(TlsFilesUnusable):
            sessions(crt_file=crt_file, key_file=key_file, key_passwd=password)
