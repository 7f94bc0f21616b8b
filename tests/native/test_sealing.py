"""OpenSSL's session behind Python's: found where it is, and left alone where anything is not as expected.

That what is sealed arrives is in tests/unit/test_tls_stream.py.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from collector.native import sealing
from collector.native.sealing import Seal, seal_of
from tests.certificates import Authority

BATCH_BYTES = 64 << 10


def client_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def shaken(context: ssl.SSLContext, authority: Authority) -> ssl.SSLObject:
    there, here = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(here, there)
    server = authority.server_context().wrap_bio(there, here, server_side=True)
    for session in (client, server, client, server):
        with contextlib.suppress(ssl.SSLWantReadError):
            session.do_handshake()
    return client


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.make(tmp_path_factory.mktemp("ca"))


def test_a_session_over_bios_gets_a_seal(authority: Authority) -> None:
    context = client_context()
    seal = seal_of(shaken(context, authority), context, BATCH_BYTES)
    assert isinstance(seal, Seal)
    assert seal.pending_bytes == 0


def test_a_session_of_another_context_is_left_alone(authority: Authority) -> None:
    assert seal_of(shaken(client_context(), authority), client_context(), BATCH_BYTES) is None


def test_a_session_over_a_socket_is_left_alone() -> None:
    own, its = socket.socketpair()
    context = client_context()
    with own, its, context.wrap_socket(own, do_handshake_on_connect=False) as session:
        assert seal_of(_with_inner(session._sslobj), context, BATCH_BYTES) is None  # type: ignore[attr-defined]


def _with_inner(inner: object) -> Any:
    return SimpleNamespace(_sslobj=inner)


@pytest.mark.parametrize("inner", [None, object(), [1, 2, 3]])
def test_what_is_no_session_is_left_alone(inner: object) -> None:
    assert seal_of(_with_inner(inner), client_context(), BATCH_BYTES) is None


def test_another_python_is_left_alone(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    context = client_context()
    session = shaken(context, authority)
    monkeypatch.setattr(sys, "implementation", SimpleNamespace(name="pypy"))
    assert seal_of(session, context, BATCH_BYTES) is None


@pytest.mark.parametrize("file", ["", "/nowhere/_ssl.so", sealing.__file__])
def test_a_module_without_functions_of_openssl_is_left_alone(file: str, tmp_path: Path) -> None:
    """In a process of its own, since what is found once is kept."""
    program = (
        "import _ssl, ssl; from collector.native.sealing import seal_of\n"
        f"_ssl.__file__ = {file!r}\n"
        "context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)\n"
        "session = context.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_hostname='x')\n"
        "assert seal_of(session, context, 1 << 16) is None\n"
        "print('left alone')\n"
    )
    assert _run(program, tmp_path) == "left alone\n"


def _run(program: str, folder: Path) -> str:
    command = [sys.executable, "-c", program]
    root = str(Path(sealing.__file__).parents[2])
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=folder, env={"PYTHONPATH": root}, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_session_that_is_over_says_why(authority: Authority) -> None:
    context = client_context()
    session = shaken(context, authority)
    seal = seal_of(session, context, BATCH_BYTES)
    assert seal is not None
    with pytest.raises(ssl.SSLWantReadError):
        session.unwrap()
    own, its = socket.socketpair()
    with own, its, pytest.raises(ssl.SSLError, match="shutdown") as refused:
        seal.send(own.fileno(), memoryview(b"words"), flush=True)
    assert refused.value.reason == "PROTOCOL_IS_SHUTDOWN"
