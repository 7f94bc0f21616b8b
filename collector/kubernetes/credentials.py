"""The token for the API server: of a file that the kubelet replaces, or of a command."""

from __future__ import annotations

import asyncio
import os
import shlex
import time

from collector.kubernetes.api_errors import ApiUnavailable

TOKEN_BYTES = 64 << 10
COMMAND_S = 10.0


class Token:
    """Kept for `ttl_s`; `forget` after the server has refused it. A file that is not there is no token."""

    def __init__(self, path: str, command: str, ttl_s: float) -> None:
        self._path = path
        self._command = command
        self._ttl_s = ttl_s
        self._value = ""
        self._until_s = float("-inf")

    async def value(self) -> str:
        """ "" for none. Raises ApiUnavailable when the command fails."""
        now_s = time.monotonic()
        if now_s >= self._until_s:
            self._value = await self._run() if self._command else self._read()
            self._until_s = now_s + self._ttl_s
        return self._value

    def forget(self) -> None:
        self._until_s = float("-inf")

    def _read(self) -> str:
        try:
            with open(self._path, "rb") as file:
                return _clean(file.read(TOKEN_BYTES))
        except FileNotFoundError:
            return ""
        except OSError as error:
            raise ApiUnavailable(f"the token's file {self._path} can't be read: {error.strerror}") from None

    async def _run(self) -> str:
        try:
            process = await asyncio.create_subprocess_exec(
                *shlex.split(self._command), stdout=asyncio.subprocess.PIPE, stdin=asyncio.subprocess.DEVNULL
            )
        except (OSError, ValueError) as error:
            raise ApiUnavailable(f"the command for the token, {self._command!r}, failed: {error}") from None
        try:
            async with asyncio.timeout(COMMAND_S):
                output, _ = await process.communicate()
        except TimeoutError:
            process.kill()
            await process.wait()
            raise ApiUnavailable(
                f"the command for the token, {self._command!r}, took over {COMMAND_S:g} s"
            ) from None
        if process.returncode:
            raise ApiUnavailable(
                f"the command for the token, {self._command!r}, ended with {process.returncode}"
            )
        return _clean(output[:TOKEN_BYTES])


def _clean(written: bytes) -> str:
    """A token is one word; anything else in a header would be another header."""
    words = written.decode("ascii", "replace").split()
    return words[0] if words else ""


def is_in_cluster(token_file: str) -> bool:
    """Whether the kubelet gave this process what it needs to ask the API server."""
    return os.path.exists(token_file)
