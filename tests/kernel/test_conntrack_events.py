"""Translations by the kernel's own NAT, in a namespace of the test: new ones, and those that were there."""

from __future__ import annotations

import select
import socket
import subprocess
import sys
import time

from probes import netns
from probes.conntrack import Place, Translation, open_conntrack, translations
from probes.netlink import NetlinkSocket
from tests.kernel.sandbox import CLONE_NEWNET, Cgroup, run, unshare

CLIENT, SERVICE = "10.1.0.1", ("10.96.0.1", 443)
DEADLINE_S = 10


def network() -> None:
    from pyroute2 import IPRoute

    unshare(CLONE_NEWNET)
    with IPRoute() as route:
        route.link("set", index=1, state="up")
        route.addr("add", index=1, address=CLIENT, prefixlen=32)
        route.route("add", dst="10.96.0.0/16", oif=1, prefsrc=CLIENT)


def translate(protocol: str, port: int) -> None:
    rule = ["-d", SERVICE[0], "-p", protocol, "--dport", str(SERVICE[1])]
    to = ["-j", "DNAT", "--to-destination", f"{CLIENT}:{port}"]
    subprocess.run(["iptables", "-t", "nat", "-A", "OUTPUT", *rule, *to], check=True)


def received(listening: NetlinkSocket) -> list[bytes]:
    """What comes first, after a wait, and all that is there then."""
    poll = select.poll()
    poll.register(listening.fileno(), select.POLLIN)
    poll.poll(DEADLINE_S * 1000)
    found = []
    while (datagram := listening.receive()) is not None:
        found.append(datagram)
    return found


def heard(listening: NetlinkSocket) -> list[Translation]:
    found: list[Translation] = []
    until = time.monotonic() + DEADLINE_S
    while not found and time.monotonic() < until:
        found += [one for datagram in received(listening) for one in translations(datagram)]
    return found


def expected(protocol: int, client_port: int, server_port: int) -> Translation:
    ours, service = socket.inet_aton(CLIENT), Place(socket.inet_aton(SERVICE[0]), SERVICE[1])
    client = Place(ours, client_port)
    return Translation(protocol, client, service, client, Place(ours, server_port))


def test_a_service_before_and_after(cgroup: Cgroup) -> None:
    def work() -> None:
        network()
        with socket.create_server((CLIENT, 0)) as server:
            port = server.getsockname()[1]
            translate("tcp", port)
            with socket.create_connection(SERVICE) as first, open_conntrack() as listening:
                before = heard(listening)
                with socket.create_connection((CLIENT, port)), socket.create_connection(SERVICE) as second:
                    after = heard(listening)
                    assert before == [expected(6, first.getsockname()[1], port)], before
                    assert after == [expected(6, second.getsockname()[1], port)], after

    assert run(cgroup, work)[1] == 0


def test_udp(cgroup: Cgroup) -> None:
    def work() -> None:
        network()
        with (
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client,
        ):
            server.bind((CLIENT, 0))
            client.bind((CLIENT, 0))
            translate("udp", server.getsockname()[1])
            with open_conntrack() as listening:
                client.sendto(b"x", SERVICE)
                found = heard(listening)
            assert found == [expected(17, client.getsockname()[1], server.getsockname()[1])], found

    assert run(cgroup, work)[1] == 0


# Process 1 of a pid namespace, and so a node, with a translated connection; then what pods with some
# capabilities hear of it, in its network namespace and in their own.
NODE = """
import socket, subprocess, sys
from tests.kernel.test_conntrack_events import CLIENT, LISTENS, SERVICE, network, translate
network()
with socket.create_server((CLIENT, 0)) as server:
    translate("tcp", server.getsockname()[1])
    with socket.create_connection(SERVICE):
        for way in ([], ["unshare", "--net"]):
            for names in ("+net_admin", "+net_admin,+sys_admin,+sys_ptrace"):
                pod = [*way, "setpriv", "--no-new-privs", "--inh-caps=-all", f"--bounding-set=-all,{names}"]
                subprocess.run([*pod, sys.executable, "-c", LISTENS], check=True)
"""
LISTENS = """
from probes.conntrack import open_of_the_node
from tests.kernel.test_conntrack_events import heard
try:
    with open_of_the_node() as listening:
        print(len(heard(listening)), flush=True)
except OSError as error:
    print(error.strerror, flush=True)
"""


def test_a_pod_hears_of_the_nodes_services_with_hostnetwork_or_where_it_may_enter() -> None:
    command = ["unshare", "--pid", "--fork", "--mount-proc", sys.executable, "-c", NODE]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout.splitlines() == ["1", "1", netns.NOT_ENTERED, "1"], done.stderr


def test_others_wake_nobody(cgroup: Cgroup) -> None:
    """The filter in the kernel keeps what is not translated out of the socket."""

    def work() -> None:
        network()
        with socket.create_server((CLIENT, 0)) as server, open_conntrack() as listening:
            translate("tcp", server.getsockname()[1])
            received(listening)  # the end of an empty dump
            for _ in range(20):
                socket.create_connection(server.getsockname()).close()
            socket.create_connection(SERVICE).close()
            found = received(listening)
            assert len(found) == 1, found
            assert listening.dropped() == 0

    assert run(cgroup, work)[1] == 0
