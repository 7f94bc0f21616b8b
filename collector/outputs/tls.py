"""TLS for outputs: Fluent Bit's tls.* keys, and certificates that are read again when they change."""

from __future__ import annotations

import logging
import os
import ssl
from collections.abc import Iterator
from dataclasses import dataclass

from collector.config.schema import boolean, choice, key, text
from collector.errors import OperatorError

# Those before are broken, and OpenSSL has switched them off.
VERSIONS = {"TLSv1.2": ssl.TLSVersion.TLSv1_2, "TLSv1.3": ssl.TLSVersion.TLSv1_3}
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
    key_passwd: str = key("tls.key_passwd", text, default="", help="Password of tls.key_file.")

    def __post_init__(self) -> None:
        if self.key_file and not self.crt_file:
            raise ValueError("has tls.key_file without tls.crt_file.")
        if VERSIONS[self.min_version] > VERSIONS[self.max_version]:
            raise ValueError("has a tls.min_version above its tls.max_version.")


class TlsFilesUnusable(OperatorError):
    """Certificates or keys can't be read or don't belong together."""


class TlsSessions:
    """Gives the TLS context of each new session, from the files as they are then.

    Short-lived certificates are replaced in place (cert-manager, projected
    volumes); sessions that exist keep what they began with. When the new files
    can't be used, the context made from the old ones stays, and it is said.
    """

    def __init__(self, settings: TlsSettings, log: logging.Logger) -> None:
        self._settings = settings
        self._log = log
        self._versions = tuple(self._stat_files())
        self._refused: tuple[object, ...] = ()
        self._context = self._build()

    def context(self) -> ssl.SSLContext:
        """To be called for each new session."""
        versions = tuple(self._stat_files())
        if versions not in (self._versions, self._refused):
            try:
                self._context = self._build()
            except TlsFilesUnusable as reason:
                self._refused = versions
                self._log.error("%s The certificates read before stay in use.", reason.problem)
            else:
                self._versions = versions
                self._log.info("new certificates are in use")
        return self._context

    def server_name(self, host: str) -> str:
        """The name for SNI (never sent for an address), and what the certificate is compared with."""
        return self._settings.vhost or host

    def _stat_files(self) -> Iterator[tuple[str, int, int, int]]:
        own = self._settings
        for path in (own.ca_file, own.ca_path, own.crt_file, own.key_file):
            try:
                found = os.stat(path) if path else None
            except OSError:
                found = None
            if found:
                yield path, found.st_ino, found.st_mtime_ns, found.st_size

    def _build(self) -> ssl.SSLContext:
        own = self._settings
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = VERSIONS[own.min_version]
        context.maximum_version = VERSIONS[own.max_version]
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
