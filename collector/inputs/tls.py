"""TLS for inputs that listen: Fluent Bit's tls.* keys, from the server's side."""

from __future__ import annotations

import logging
import ssl
from dataclasses import dataclass

from collector.certificates import VERSIONS, ContextOfFiles, TlsFilesUnusable, check_ciphers, limit
from collector.config.schema import boolean, choice, key, text

VERSION = choice(*VERSIONS)


@dataclass(frozen=True)
class ServerTlsSettings:
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
    key_passwd: str = key("tls.key_passwd", text, default="", help="Password of tls.key_file.")
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

    def __post_init__(self) -> None:
        if self.tls and not self.crt_file:
            raise ValueError("has tls without tls.crt_file.")
        if self.verify_client_cert and not (self.ca_file or self.ca_path):
            raise ValueError("has tls.verify_client_cert without tls.ca_file or tls.ca_path.")
        if VERSIONS[self.min_version] > VERSIONS[self.max_version]:
            raise ValueError("has a tls.min_version above its tls.max_version.")
        if self.ciphers:
            check_ciphers(self.ciphers)


def server_sessions(settings: ServerTlsSettings, log: logging.Logger) -> ContextOfFiles | None:
    """The contexts of an input's sessions; None without TLS. Raises TlsFilesUnusable."""
    if not settings.tls:
        return None
    paths = (settings.ca_file, settings.ca_path, settings.crt_file, settings.key_file)
    return ContextOfFiles(paths, lambda: server_context(settings), log)


def server_context(own: ServerTlsSettings) -> ssl.SSLContext:
    """From the files as they are now. Raises TlsFilesUnusable."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    limit(context, own.min_version, own.max_version, own.ciphers)
    files = ", ".join(filter(None, (own.ca_file, own.ca_path, own.crt_file, own.key_file)))
    try:
        context.load_cert_chain(own.crt_file, own.key_file or None, own.key_passwd or "")
        if own.ca_file or own.ca_path:
            context.load_verify_locations(own.ca_file or None, own.ca_path or None)
            if own.verify_client_cert:
                context.verify_mode = ssl.CERT_REQUIRED
            elif own.verify:
                context.verify_mode = ssl.CERT_OPTIONAL
    except (OSError, ssl.SSLError) as reason:
        raise TlsFilesUnusable(
            f"The TLS files ({files}) can't be used: {reason}.",
            "Nobody can connect.",
            "Check that tls.ca_file, tls.crt_file and tls.key_file exist, are PEM and belong together.",
        ) from reason
    return context
