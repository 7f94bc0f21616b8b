"""TLS for outputs: Fluent Bit's tls.* keys, and certificates that are read again when they change."""

from __future__ import annotations

import logging
import ssl
from dataclasses import dataclass

from collector.certificates import ContextOfFiles, TlsLimits, reading
from collector.config.schema import boolean, key, text


@dataclass(frozen=True)
class TlsSettings(TlsLimits):
    """Keys of every output that can use TLS."""

    tls: bool = key("tls", boolean, default="Off", help="Use TLS.")
    verify: bool = key("tls.verify", boolean, default="On", help="Check the receiver's certificate.")
    verify_hostname: bool = key(
        "tls.verify_hostname",
        boolean,
        default="Off",
        help="Check that the certificate is for tls.vhost, or for Host.",
    )
    vhost: str = key("tls.vhost", text, default="", help="Host name for SNI and for tls.verify_hostname.")
    ca_file: str = key("tls.ca_file", text, default="", help="CA certificates; without it the system's.")
    ca_path: str = key("tls.ca_path", text, default="", help="Directory of hashed CA certificates.")
    crt_file: str = key("tls.crt_file", text, default="", help="Own certificate, for a receiver that asks.")
    key_file: str = key("tls.key_file", text, default="", help="Private key of tls.crt_file.")

    def __post_init__(self) -> None:
        if self.key_file and not self.crt_file:
            raise ValueError("has tls.key_file without tls.crt_file.")
        super().__post_init__()

    @property
    def files(self) -> tuple[str, ...]:
        return self.ca_file, self.ca_path, self.crt_file, self.key_file


class TlsSessions:
    """The contexts of an output's sessions. Raises TlsFilesUnusable when made."""

    def __init__(self, settings: TlsSettings, log: logging.Logger) -> None:
        self._settings = settings
        self._contexts = ContextOfFiles(settings.files, lambda: client_context(settings), log)

    def context(self) -> ssl.SSLContext:
        """To be called for each new session."""
        return self._contexts.context()

    def server_name(self, host: str) -> str:
        """The name for SNI (never sent for an address), and what the certificate is compared with."""
        return self._settings.vhost or host


def client_context(own: TlsSettings) -> ssl.SSLContext:
    """From the files as they are now. Raises TlsFilesUnusable."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    own.limit(context)
    context.check_hostname = own.verify and own.verify_hostname
    context.verify_mode = ssl.CERT_REQUIRED if own.verify else ssl.CERT_NONE
    with reading(own.files, "Nothing can be sent over TLS."):
        if own.ca_file or own.ca_path:
            context.load_verify_locations(own.ca_file or None, own.ca_path or None)
        elif own.verify:
            context.load_default_certs(ssl.Purpose.SERVER_AUTH)
        if own.crt_file:
            context.load_cert_chain(own.crt_file, own.key_file or None, own.key_passwd or "")
    return context
