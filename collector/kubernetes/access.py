"""How a server is asked: whom it is trusted by, and who asks."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass

from collector.kubernetes.api import Api, ApiUrl
from collector.kubernetes.credentials import Token
from collector.outputs.connector import NetworkSettings

CONNECT_S = 5.0
# A watch is silent for up to a minute, between bookmarks; a connection that is dead has to be noticed. A
# watch without bookmarks is begun anew then.
SILENCE_S = 120.0


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
