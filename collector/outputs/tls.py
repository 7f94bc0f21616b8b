"""TLS for outputs: Fluent Bit's tls.* keys, and certificates that are read again when they change."""

from __future__ import annotations

import logging
import ssl
from dataclasses import dataclass

from collector.certificates import VERSIONS, ContextOfFiles, TlsFilesUnusable, check_ciphers, limit
from collector.config.schema import boolean, choice, key, text

VERSION = choice(*VERSIONS)


@dataclass(frozen=True)
class TlsSettings:
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
    min_version: str = key(
        "tls.min_version", VERSION, default="TLSv1.2", help="Lowest version of TLS to be spoken."
    )
    max_version: str = key(
        "tls.max_version", VERSION, default="TLSv1.3", help="Highest version of TLS to be spoken."
    )
    ciphers: str = key(
        "tls.ciphers",
        text,
        default="",
        help="Ciphers of TLS 1.2, as OpenSSL writes them; its own where unset.",
    )
    key_passwd: str = key("tls.key_passwd", text, default="", help="Password of tls.key_file.")

    def __post_init__(self) -> None:
        if self.key_file and not self.crt_file:
            raise ValueError("has tls.key_file without tls.crt_file.")
        if VERSIONS[self.min_version] > VERSIONS[self.max_version]:
            raise ValueError("has a tls.min_version above its tls.max_version.")
        if self.ciphers:
            check_ciphers(self.ciphers)


class TlsSessions:
    """The contexts of an output's sessions. Raises TlsFilesUnusable when made."""

    def __init__(self, settings: TlsSettings, log: logging.Logger) -> None:
        self._settings = settings
        own = settings
        paths = (own.ca_file, own.ca_path, own.crt_file, own.key_file)
        self._contexts = ContextOfFiles(paths, lambda: client_context(settings), log)

    def context(self) -> ssl.SSLContext:
        """To be called for each new session."""
        return self._contexts.context()

    def server_name(self, host: str) -> str:
        """The name for SNI (never sent for an address), and what the certificate is compared with."""
        return self._settings.vhost or host


def client_context(own: TlsSettings) -> ssl.SSLContext:
    """From the files as they are now. Raises TlsFilesUnusable."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    limit(context, own.min_version, own.max_version, own.ciphers)
    context.check_hostname = own.verify and own.verify_hostname
    context.verify_mode = ssl.CERT_REQUIRED if own.verify else ssl.CERT_NONE
    files = ", ".join(filter(None, (own.ca_file, own.ca_path, own.crt_file, own.key_file)))
    try:
        if own.ca_file or own.ca_path:
            context.load_verify_locations(own.ca_file or None, own.ca_path or None)
        elif own.verify:
            context.load_default_certs(ssl.Purpose.SERVER_AUTH)
        if own.crt_file:
            context.load_cert_chain(own.crt_file, own.key_file or None, own.key_passwd or "")
    except (OSError, ssl.SSLError) as reason:
        raise TlsFilesUnusable(
            f"The TLS files ({files}) can't be used: {reason}.",
            "Nothing can be sent over TLS.",
            "Check that tls.ca_file, tls.crt_file and tls.key_file exist, are PEM and belong together.",
        ) from reason
    return context
