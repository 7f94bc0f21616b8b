"""The HTTP proxy of an output: from its `Proxy` key, or from HTTP_PROXY and NO_PROXY of the environment.

As in Fluent Bit, HTTP_PROXY counts for servers with TLS too (by CONNECT), and
net.proxy_env_ignore turns it off. What is on this machine is never asked through it.
"""

from __future__ import annotations

import base64
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from collector.config.kinds import Kind
from collector.errors import OperatorError
from collector.outputs.resolver import Endpoint


@dataclass(frozen=True, slots=True)
class Proxy:
    """Where it is; `authorization` is the value of Proxy-Authorization, "" for none."""

    endpoint: Endpoint
    authorization: str = ""

    @property
    def headers(self) -> list[tuple[str, str]]:
        return [("Proxy-Authorization", self.authorization)] if self.authorization else []


def read_proxy(written: str) -> Proxy:
    """`http://[USER:PASSWORD@]HOST:PORT`. Raises ValueError with a sentence."""
    parts = urlsplit(written)
    try:
        port = parts.port or 80
    except ValueError:
        port = 0
    if parts.scheme != "http" or not parts.hostname or not port or parts.path.strip("/"):
        raise ValueError("expected http://HOST:PORT.")
    authorization = ""
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        authorization = f"Basic {base64.b64encode(pair.encode()).decode()}"
    return Proxy(Endpoint(parts.hostname, port), authorization)


proxy_kind: Kind[Proxy] = Kind(
    "http://HOST:PORT", read_proxy, show=lambda value: "" if value is None else str(value.endpoint)
)


def environment_proxy(environ: Mapping[str, str], host: str) -> Proxy | None:
    """The environment's proxy for a server. Raises OperatorError for one that can't be read."""
    written = environ.get("HTTP_PROXY", "")
    if not written or _is_here(host) or _is_exempt(environ.get("NO_PROXY", ""), host):
        return None
    try:
        return read_proxy(written if "://" in written else f"http://{written}")
    except ValueError as reason:
        # Without the value: it may hold a password.
        raise OperatorError(
            f"HTTP_PROXY of the environment can't be read: {reason}",
            "It is not known how to connect.",
            "Mend it, or set net.proxy_env_ignore On.",
        ) from None


def _is_here(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _is_exempt(no_proxy: str, host: str) -> bool:
    """Whether NO_PROXY names the host, a domain that it is in, or `*`."""
    lowered = host.lower()
    for entry in no_proxy.lower().split(","):
        name = entry.strip().removeprefix("*.").removeprefix(".")
        if name and (name in ("*", lowered) or lowered.endswith("." + name)):
            return True
    return False
