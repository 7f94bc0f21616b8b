"""TLS for inputs that listen: Fluent Bit's tls.* keys, from the server's side."""

from __future__ import annotations

import logging
import ssl
from dataclasses import dataclass

from collector.certificates import ContextOfFiles, TlsLimits, reading
from collector.config.schema import boolean, key, text


@dataclass(frozen=True)
class ServerTlsSettings(TlsLimits):
    """Keys of every input that listens."""

    tls: bool = key("tls", boolean, default="Off", help="Use TLS.")
    verify: bool = key(
        "tls.verify",
        boolean,
        default="On",
        help="Check a client's certificate, if it has one and there are CAs.",
    )
    verify_client_cert: bool = key(
        "tls.verify_client_cert", boolean, default="Off", help="Let only clients in that have a certificate."
    )
    ca_file: str = key("tls.ca_file", text, default="", help="CA certificates of clients.")
    ca_path: str = key(
        "tls.ca_path", text, default="", help="Directory of hashed CA certificates of clients."
    )
    crt_file: str = key("tls.crt_file", text, default="", help="Own certificate.")
    key_file: str = key("tls.key_file", text, default="", help="Private key of tls.crt_file.")

    def __post_init__(self) -> None:
        if self.tls and not self.crt_file:
            raise ValueError("has tls without tls.crt_file.")
        if self.verify_client_cert and not (self.ca_file or self.ca_path):
            raise ValueError("has tls.verify_client_cert without tls.ca_file or tls.ca_path.")
        super().__post_init__()

    @property
    def files(self) -> tuple[str, ...]:
        return self.ca_file, self.ca_path, self.crt_file, self.key_file


def server_sessions(settings: ServerTlsSettings, log: logging.Logger) -> ContextOfFiles | None:
    """The contexts of an input's sessions; None without TLS. Raises TlsFilesUnusable."""
    if not settings.tls:
        return None
    return ContextOfFiles(settings.files, lambda: server_context(settings), log)


def server_context(own: ServerTlsSettings) -> ssl.SSLContext:
    """From the files as they are now. Raises TlsFilesUnusable."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    own.limit(context)
    with reading(own.files, "Nobody can connect."):
        context.load_cert_chain(own.crt_file, own.key_file or None, own.key_passwd or "")
        if own.ca_file or own.ca_path:
            context.load_verify_locations(own.ca_file or None, own.ca_path or None)
            if own.verify_client_cert:
                context.verify_mode = ssl.CERT_REQUIRED
            elif own.verify:
                context.verify_mode = ssl.CERT_OPTIONAL
    return context
