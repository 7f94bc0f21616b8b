"""probes.netlink_namespaces: TCP connections of every network namespace, with bytes, owner and cgroup."""

from __future__ import annotations

import os
import socket
import subprocess
import time

import pytest

from tests.kernel.netlink_child import Child
from tests.kernel.sandbox import CLONE_NEWNET, Cgroup, Process, run, unshare

pytestmark = pytest.mark.kernel

# As in tests/agent: without what eBPF takes.
WITHOUT_ADMIN = ("setpriv", "--bounding-set=-sys_admin,-bpf,-perfmon", "--inh-caps=-all")


def talk(sent: int, answered: int, pause_s: float) -> int:
    """One connection on loopback, each end with its bytes; the listener's port."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        time.sleep(pause_s)
        with socket.create_connection(server.getsockname()) as client:
            accepted, _ = server.accept()
            with accepted:
                client.sendall(b"x" * sent)
                accepted.recv(sent, socket.MSG_WAITALL)
                accepted.sendall(b"y" * answered)
                client.recv(answered, socket.MSG_WAITALL)
                time.sleep(pause_s)
                client.shutdown(socket.SHUT_WR)
                accepted.recv(1)
        return int(server.getsockname()[1])


def test_connection_with_bytes_owner_and_cgroup(cgroup: Cgroup) -> None:
    reading, writing = os.pipe()
    with Child() as child:

        def work() -> None:
            os.write(writing, talk(10007, 499, 1.0).to_bytes(2, "big"))

        pid, status = run(cgroup, work)
        assert status == 0
        port = int.from_bytes(os.read(reading, 2), "big")
        child.wait_for(lambda: len(child.of_port(port, "close")) == 2)
        child.wait_for(lambda: len(child.of_port(port, "unlisten")) == 1)
    seen = {(one.action, one.role): one for one in child.of_port(port)}
    assert set(seen) == {
        ("listen", "listener"),
        ("connect", "client"),
        ("accept", "server"),
        ("close", "client"),
        ("close", "server"),
        ("unlisten", "listener"),
    }
    assert len(child.of_port(port)) == 6
    for one in seen.values():
        assert one.cgroup_id == cgroup.id
        assert one.owner is not None
        assert one.owner.pid == pid
    client, server = seen["close", "client"].counters, seen["close", "server"].counters
    assert client is not None
    assert server is not None
    assert (client.bytes_sent, server.bytes_sent) == (10007, 499)
    assert (client.bytes_received, server.bytes_received) == (499 + 1, 10007 + 1)  # FINs
    assert seen["close", "client"].socket.cookie == seen["connect", "client"].socket.cookie


def test_connections_shorter_than_a_look_have_their_end_with_bytes() -> None:
    count = 97
    with Child(("network",), refresh_s=3600) as child, socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        for number in range(1, count + 1):
            with socket.create_connection(server.getsockname()) as client:
                accepted, _ = server.accept()
                with accepted:
                    client.sendall(b"x" * number)
                    accepted.recv(number, socket.MSG_WAITALL)
                    client.shutdown(socket.SHUT_WR)
                    accepted.recv(1)
        child.wait_for(lambda: len(child.of_port(port, "close")) == 2 * count)
    ends = child.of_port(port, "close")
    assert len(ends) == 2 * count
    clients = [one for one in ends if one.role == "client" and one.socket.remote[1] == port]
    assert sorted(one.counters.bytes_sent for one in clients if one.counters) == list(range(1, count + 1))
    assert all(one.owner is None for one in ends)
    assert {one.action for one in child.of_port(port)} == {"close"}


def test_connections_in_another_network_namespace(cgroup: Cgroup) -> None:
    """Also after it was made while the witness runs; and ours don't keep it alive."""
    ports, writing = os.pipe()
    with Child() as child:

        def work() -> None:
            unshare(CLONE_NEWNET)
            subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
            net_ns = os.stat("/proc/self/ns/net").st_ino
            time.sleep(1.0)
            os.write(writing, net_ns.to_bytes(8, "big") + talk(701, 13, 1.0).to_bytes(2, "big"))
            time.sleep(1.0)

        _, status = run(cgroup, work)
        assert status == 0
        said = os.read(ports, 10)
        net_ns, port = int.from_bytes(said[:8], "big"), int.from_bytes(said[8:], "big")
        child.wait_for(lambda: len(child.of_port(port, "close")) == 2)
    ends = [one for one in child.of_port(port, "close") if one.net_ns == net_ns]
    assert sorted(one.counters.bytes_sent for one in ends if one.counters) == [13, 701]
    assert {one.cgroup_id for one in ends} == {cgroup.id}
    assert child.parts["network"].is_seen


def test_without_sys_admin_other_namespaces_are_told_to_be_unseen(cgroup: Cgroup) -> None:
    with Child(prefix=WITHOUT_ADMIN) as child:
        reading, writing = os.pipe()

        def work() -> None:
            unshare(CLONE_NEWNET)
            os.close(writing)
            os.read(reading, 1)

        process = Process(cgroup, work)
        child.wait_for(lambda: "can't be entered" in child.parts["network"].reason)
        assert "Operation not permitted" in child.parts["network"].reason
        assert child.parts["process"].is_seen
        os.close(writing)
        process.wait()
