"""The kubelet as the one who knows the pods (collector.kubernetes.kubelet)."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

from tests.api_server import api_server, recorded
from tests.kubernetes_filter import WEB_TAG, wanting


def test_kubelet_is_asked_instead(tmp_path: Path) -> None:
    counted: Counter[str] = Counter()

    async def scenario() -> None:
        from tests.certificates import Authority

        authority = Authority.make(tmp_path / "ca")
        async with api_server(authority.server_context(subject="kubelet")) as server:
            server.tokens = {"secret"}
            for one in recorded("pods"):
                await server.put(one)
            house = wanting(
                server,
                tmp_path,
                ("Use_Kubelet", "On"),
                ("Kubelet_Host", "localhost"),
                ("Kubelet_Port", str(server.port)),
                ("Kube_CA_File", ""),
                ("Kube_CA_Path", str(authority.hashed())),
                ("Kube_Token_Command", "echo secret"),
                ("tls.verify_hostname", "On"),
                ("tls.vhost", "kubelet"),
            )
            learned, stop = asyncio.Event(), asyncio.Event()
            house.identities.pod_news.append(lambda concerns: learned.set())
            task = asyncio.create_task(house.filter.run(stop))
            await asyncio.wait_for(learned.wait(), 20)
            assert set(server.requests) == {"/pods"}
            counted.update(server.requests)
            assert house.apply(WEB_TAG, []) is not None
            stop.set()
            await asyncio.wait_for(task, 20)

    asyncio.run(scenario())
    assert counted["/pods"] == 1
