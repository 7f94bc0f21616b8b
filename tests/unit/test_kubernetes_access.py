"""How the API server is asked: with certificates, with the system's, and with none that are checked."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest

from collector.kubernetes.access import Access
from collector.kubernetes.api import read_url
from collector.kubernetes.api_errors import ApiUnavailable
from collector.kubernetes.credentials import Token
from tests.api_server import api_server
from tests.certificates import Authority


def test_whom_is_trusted(tmp_path: Path) -> None:
    authority = Authority.make(tmp_path / "ca")
    token = Token("", "", 600)
    log = logging.getLogger("t")

    async def scenario() -> None:
        async with api_server(authority.server_context()) as server:
            server.put_other("/thing", {"metadata": {}})
            url = read_url(server.url)
            own = str(authority.certificate)
            await Access(token, ca_file=own).api(url, log).get("/thing")
            await (
                Access(token, ca_file=own, verify_hostname=True, vhost="localhost")
                .api(url, log)
                .get("/thing")
            )
            await Access(token, verify=False).api(url, log).get("/thing")
            with pytest.raises(ApiUnavailable, match="can't be trusted"):
                await Access(token, ca_file="/nowhere/ca.crt").api(url, log).get("/thing")
            with pytest.raises(ApiUnavailable, match="can't be trusted"):
                await (
                    Access(token, ca_file=own, verify_hostname=True, vhost="other")
                    .api(url, log)
                    .get("/thing")
                )
            broken = tmp_path / "broken.crt"
            broken.write_text("none")
            with pytest.raises(ApiUnavailable, match="is not there: The TLS files"):
                await Access(token, ca_file=str(broken)).api(url, log).get("/thing")

    asyncio.run(scenario())
