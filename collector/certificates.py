"""TLS contexts made from files that are replaced in place, for those who connect and those who listen."""

from __future__ import annotations

import contextlib
import logging
import os
import ssl
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from collector.config.schema import choice, key, text
from collector.errors import OperatorError

# Those before are broken, and OpenSSL has switched them off.
VERSIONS = {"TLSv1.2": ssl.TLSVersion.TLSv1_2, "TLSv1.3": ssl.TLSVersion.TLSv1_3}


_VERSION = choice(
    *VERSIONS,
    instead=dict.fromkeys(("sslv2", "sslv3", "tlsv1", "tlsv1.1"), "Those before are broken: choose TLSv1.2."),
)


@dataclass(frozen=True)
class TlsLimits:
    """Keys of both ends of a connection."""

    min_version: str = key(
        "tls.min_version", _VERSION, default="TLSv1.2", help="Lowest version of TLS to be spoken."
    )
    max_version: str = key(
        "tls.max_version", _VERSION, default="TLSv1.3", help="Highest version of TLS to be spoken."
    )
    ciphers: str = key(
        "tls.ciphers",
        text,
        default="",
        help="Ciphers of TLS 1.2, as OpenSSL writes them; its own where unset.",
    )
    key_passwd: str = key("tls.key_passwd", text, default="", help="Password of tls.key_file.")

    def __post_init__(self) -> None:
        if VERSIONS[self.min_version] > VERSIONS[self.max_version]:
            raise ValueError("has a tls.min_version above its tls.max_version.")
        if self.ciphers:
            check_ciphers(self.ciphers)

    def limit(self, context: ssl.SSLContext) -> None:
        """Sets what a context may agree on."""
        context.minimum_version = VERSIONS[self.min_version]
        context.maximum_version = VERSIONS[self.max_version]
        if self.ciphers:
            context.set_ciphers(self.ciphers)


class TlsFilesUnusable(OperatorError):
    """Certificates or keys can't be read or don't belong together."""


@contextlib.contextmanager
def reading(files: Sequence[str], consequence: str) -> Iterator[None]:
    """Says of files that can't be used which they are, and what follows. Raises TlsFilesUnusable."""
    try:
        yield
    except (OSError, ssl.SSLError) as reason:
        raise TlsFilesUnusable(
            f"The TLS files ({', '.join(filter(None, files))}) can't be used: {reason}.",
            consequence,
            "Check that tls.ca_file, tls.crt_file and tls.key_file exist, are PEM and belong together.",
        ) from reason


class ContextOfFiles:
    """Gives the TLS context of each new session, from the files as they are then.

    Short-lived certificates are replaced in place (cert-manager, projected
    volumes); sessions that exist keep what they began with. When the new files
    can't be used, the context made from the old ones stays, and it is said.
    `build` raises TlsFilesUnusable; so does the constructor.
    """

    def __init__(
        self, paths: Sequence[str], build: Callable[[], ssl.SSLContext], log: logging.Logger
    ) -> None:
        self._paths = tuple(filter(None, paths))
        self._build = build
        self._log = log
        self._versions = tuple(self._stat_files())
        self._refused: tuple[object, ...] = ()
        self._context = build()

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

    def _stat_files(self) -> Iterator[tuple[str, int, int, int]]:
        for path in self._paths:
            try:
                found = os.stat(path)
            except OSError:
                continue
            yield path, found.st_ino, found.st_mtime_ns, found.st_size


def check_ciphers(ciphers: str) -> None:
    """Raises ValueError with a sentence for what OpenSSL does not take."""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).set_ciphers(ciphers)
    except ssl.SSLError:
        raise ValueError(f"has tls.ciphers {ciphers!r}, of which OpenSSL knows none.") from None
