"""The input kubernetes_events in a running agent: from the API to a file, and over a restart."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from tests.agent.agent import Agent
from tests.api_server import api_server, recorded
from tests.polling import until


def messages(path: Path) -> list[str]:
    whole = path.read_text().rpartition("\n")[0] if path.exists() else ""
    return [json.loads(line)["message"] for line in whole.splitlines()]


def until_told(path: Path, count: int) -> list[str]:
    return until(lambda: found if len(found := messages(path)) >= count else None)


def test_events_over_a_restart(tmp_path: Path) -> None:
    out = tmp_path / "events"

    async def scene() -> None:
        async with api_server() as server:
            (tmp_path / "main.conf").write_text(
                f"[SERVICE]\n    Flush 0.1\n[INPUT]\n    Name kubernetes_events\n    Tag events\n"
                f"    Kube_URL {server.url}\n    DB {tmp_path}/events.db\n    Kube_Retention_Time 100000h\n"
                f"[OUTPUT]\n    Name file\n    Match *\n    Path {tmp_path}\n    Format plain\n"
            )
            events = recorded("events")
            wanted = [one["message"] for one in events]
            for one in events[:3]:
                await server.put(one)
            for told in (3, 5):
                with Agent("-c", str(tmp_path / "main.conf")) as agent:
                    await asyncio.to_thread(agent.wait_until_running)
                    assert sorted(await asyncio.to_thread(until_told, out, told)) == sorted(wanted[:told])
                    assert await asyncio.to_thread(agent.stop) == 0
                for one in events[told : told + 2]:
                    await server.put(one)

    asyncio.run(scene())
