"""podwitness as an aggregator: the agent between fluent-logger and a receiver, over TLS with a handshake."""

from __future__ import annotations

import asyncio
from pathlib import Path

from fluent import sender  # type: ignore[import-untyped]

from tests.agent.agent import Agent
from tests.agent.test_run_lifecycle import configuration, free_port
from tests.certificates import Authority
from tests.receiver import Receiver, Users, receiving


def send(port: int) -> None:
    client = sender.FluentSender("app", host="127.0.0.1", port=port)
    for number in range(100):
        assert client.emit("web", {"n": number})
    client.close()


def test_what_collector_inputs_forward_receives_is_sent_on(tmp_path: Path) -> None:
    authority, port = Authority.make(tmp_path), free_port()

    async def scenario() -> None:
        users = Users("secret", "node", "pass")
        async with receiving(Receiver(users=users), tls=authority.server_context()) as receiver:
            config = configuration(
                tmp_path,
                "[SERVICE]\n    Flush 0.1\n",
                f"[INPUT]\n    Name forward\n    Listen 127.0.0.1\n    Port {port}\n    Tag_Prefix edge.\n",
                "[FILTER]\n    Name modify\n    Match edge.*\n    Add cluster one\n",
                f"[OUTPUT]\n    Name forward\n    Match *\n    Port {receiver.port}\n"
                f"    tls On\n    tls.ca_file {authority.certificate}\n    tls.verify_hostname On\n"
                "    Shared_Key secret\n    Username node\n    Password pass\n"
                "    Require_ack_response On\n    Compress zstd\n",
            )
            with Agent("-c", config) as agent:
                await asyncio.to_thread(agent.wait_until_running)
                await asyncio.to_thread(send, port)
                await receiver.wait_until(lambda: len(receiver.records) == 100)
                assert await asyncio.to_thread(agent.stop) == 0
            assert receiver.records == [{b"n": number, b"cluster": b"one"} for number in range(100)]
            assert {received.tag for received in receiver.received} == {"edge.app.web"}

    asyncio.run(scenario())
