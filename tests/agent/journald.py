"""A real journald of the test's own, in a mount namespace with empty /run and /var/log."""

from __future__ import annotations

import select
import socket
import subprocess
from pathlib import Path
from typing import Self

JOURNALD = "/lib/systemd/systemd-journald"
START_S = 10.0

# No rate limit, nothing on disk, none of the kernel's messages; it says that it has started when it has.
_SETUP = """
mount --make-rprivate /
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /var/log
mkdir -p /run/systemd/journal /run/log/journal /run/systemd/journald.conf.d
printf '[Journal]\\nStorage=volatile\\nReadKMsg=no\\nRateLimitBurst=0\\n' \\
  > /run/systemd/journald.conf.d/test.conf
exec "$0"
"""


class Journald:
    """Started on entry and ended on exit of a `with`."""

    def __enter__(self) -> Self:
        self._ready = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._ready.bind("\0podwitness-test-journald")
        self._process = subprocess.Popen(
            ["unshare", "--mount", "bash", "-euc", _SETUP, JOURNALD],
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "NOTIFY_SOCKET": "@podwitness-test-journald"},
        )
        self._await_start()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.connect(str(self.root / "run/systemd/journal/socket"))
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()
        self._ready.close()
        self._process.terminate()
        self._process.wait(10)

    def _await_start(self) -> None:
        while select.select([self._ready], [], [], START_S)[0]:
            if b"READY=1" in self._ready.recv(4096):
                return
        raise AssertionError("journald has not started")

    @property
    def root(self) -> Path:
        """The root of its mount namespace."""
        return Path(f"/proc/{self._process.pid}/root")

    @property
    def folder(self) -> Path:
        return self.root / "run/log/journal"

    def send(self, *messages: str, **fields: str) -> None:
        """By the native protocol; returns when they are in the journal."""
        more = "".join(f"{name}={value}\n" for name, value in fields.items())
        for message in messages:
            self._socket.send(f"MESSAGE={message}\n{more}".encode())
        self.control("--sync")

    def control(self, *arguments: str) -> None:
        """journalctl in its namespace, which waits until journald has done it."""
        inside = ["nsenter", f"--mount=/proc/{self._process.pid}/ns/mnt", "journalctl", *arguments]
        subprocess.run(inside, check=True, capture_output=True)
