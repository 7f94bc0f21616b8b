"""A certificate authority for tests, made with the openssl command."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Authority:
    """Files of a CA, and of what it has issued, in one directory."""

    directory: Path

    @classmethod
    def make(cls, directory: Path, name: str = "test CA") -> Authority:
        directory.mkdir(parents=True, exist_ok=True)
        _openssl(
            directory, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
            "-days", "2", "-subj", f"/CN={name}", "-addext", "keyUsage=critical,keyCertSign,cRLSign",
            "-keyout", "ca.key", "-out", "ca.crt",
        )  # fmt: skip
        return cls(directory)

    @property
    def certificate(self) -> Path:
        return self.directory / "ca.crt"

    def hashed(self) -> Path:
        """A directory that OpenSSL finds the certificate in by its name, as /etc/ssl/certs."""
        directory = self.directory / "hashed"
        directory.mkdir(exist_ok=True)
        shutil.copy(self.certificate, directory)
        _openssl(self.directory, "rehash", "hashed")
        return directory

    def issue(self, name: str, *, subject: str = "localhost", password: str = "") -> tuple[Path, Path]:
        """Certificate and key for a DNS name, valid for 127.0.0.1 too."""
        secret = ["-passout", f"pass:{password}"] if password else ["-nodes"]
        _openssl(
            self.directory, "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", *secret,
            "-subj", f"/CN={subject}", "-keyout", f"{name}.key", "-out", f"{name}.csr",
        )  # fmt: skip
        (self.directory / f"{name}.ext").write_text(f"subjectAltName=DNS:{subject},IP:127.0.0.1\n")
        _openssl(
            self.directory, "x509", "-req", "-in", f"{name}.csr", "-CA", "ca.crt", "-CAkey", "ca.key",
            "-CAcreateserial", "-days", "2", "-extfile", f"{name}.ext", "-out", f"{name}.crt",
        )  # fmt: skip
        return self.directory / f"{name}.crt", self.directory / f"{name}.key"

    def server_context(self, *, asks_client: bool = False, subject: str = "localhost") -> ssl.SSLContext:
        """What a receiver with a certificate of this CA uses."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self.issue(f"server-{subject}", subject=subject))
        if asks_client:
            context.load_verify_locations(self.certificate)
            context.verify_mode = ssl.CERT_REQUIRED
        return context


def _openssl(directory: Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], cwd=directory, check=True, capture_output=True)
