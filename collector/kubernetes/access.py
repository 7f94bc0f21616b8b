"""How a server is asked: whom it is trusted by, and who asks."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass

from collector.config.kinds import boolean, integer, seconds, text
from collector.config.schema import key
from collector.kubernetes.api import Api, ApiUrl, read_url
from collector.kubernetes.credentials import Token
from collector.outputs.connector import NetworkSettings

_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
CONNECT_S = 5.0
# A watch is silent for up to a minute, between bookmarks; a connection that is dead has to be noticed. A
# watch without bookmarks is begun anew then.
SILENCE_S = 120.0


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """Keys of whoever asks the API server."""

    kube_url: str = key("Kube_URL", text, default="https://kubernetes.default.svc", help="The API server.")
    kube_ca_file: str = key("Kube_CA_File", text, default=f"{_ACCOUNT}/ca.crt", help="Its certificates.")
    kube_ca_path: str = key("Kube_CA_Path", text, default="", help="A folder of them.")
    kube_token_file: str = key("Kube_Token_File", text, default=f"{_ACCOUNT}/token", help="The token for it.")
    kube_token_ttl_s: float = key(
        "Kube_Token_TTL", seconds, default="10m", help="How long the token is not read again."
    )
    tls_verify: bool = key("tls.verify", boolean, default="On", help="Check the server's certificate.")
    tls_verify_hostname: bool = key(
        "tls.verify_hostname", boolean, default="Off", help="Check the name in it."
    )
    tls_vhost: str = key("tls.vhost", text, default="", help="The name to ask for.")
    dns_retries: int = key(
        "DNS_Retries", integer(0), default="6", help="Accepted; a name is looked up until there is an answer."
    )
    dns_wait_time_s: float = key("DNS_Wait_Time", seconds, default="30", help="Accepted, as DNS_Retries.")

    def __post_init__(self) -> None:
        try:
            read_url(self.kube_url)
        except ValueError as error:
            raise ValueError(f"has Kube_URL {self.kube_url!r}: {error}") from None

    def access(self, token_command: str = "") -> Access:
        """By the token that a command prints; by that of the file where there is none."""
        return Access(
            Token(self.kube_token_file, token_command, self.kube_token_ttl_s),
            ca_file=self.kube_ca_file,
            ca_path=self.kube_ca_path,
            verify=self.tls_verify,
            verify_hostname=self.tls_verify_hostname,
            vhost=self.tls_vhost,
        )


@dataclass(frozen=True, slots=True)
class Access:
    """`ca_file` may be absent; then the system's certificates count."""

    token: Token
    ca_file: str = ""
    ca_path: str = ""
    verify: bool = True
    verify_hostname: bool = False
    vhost: str = ""

    def api(self, url: ApiUrl, log: logging.Logger) -> Api:
        network = NetworkSettings(
            tls=url.is_tls,
            verify=self.verify,
            verify_hostname=self.verify_hostname,
            vhost=self.vhost,
            ca_file=self.ca_file if os.path.exists(self.ca_file) else "",
            ca_path=self.ca_path,
            connect_timeout_s=CONNECT_S,
            io_timeout_s=SILENCE_S,
        )
        return Api(url, network, self.token, log)
