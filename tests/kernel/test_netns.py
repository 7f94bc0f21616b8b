"""probes.netns: sockets in the namespace of another process."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading

import pytest

from probes import netns
from tests.kernel.sandbox import CLONE_NEWNET, Cgroup, Process, unshare

pytestmark = pytest.mark.kernel


def test_sockets_are_made_there_and_the_thread_comes_back(cgroup: Cgroup) -> None:
    ready, told = os.pipe()
    stay, leave = os.pipe()

    def work() -> None:
        unshare(CLONE_NEWNET)
        os.write(told, b".")
        os.close(leave)
        os.read(stay, 1)

    process = Process(cgroup, work)
    os.read(ready, 1)
    before = netns.namespace_of("thread-self")
    with netns.inside(process.pid):
        assert netns.namespace_of("thread-self") == netns.namespace_of(process.pid) != before
        others: list[int] = []
        thread = threading.Thread(target=lambda: others.append(netns.namespace_of("self")))
        made = socket.socket()
    thread.start()
    thread.join()
    assert netns.namespace_of("thread-self") == before == others[0]
    with made, pytest.raises(OSError, match="unreachable"):
        made.connect(("127.0.0.1", 9))  # lo is down there
    os.close(leave)
    process.wait()
    with pytest.raises(FileNotFoundError), netns.inside(process.pid):
        pass


def test_an_error_inside_brings_the_thread_back() -> None:
    before = netns.namespace_of("thread-self")
    with pytest.raises(KeyError), netns.inside("self"):
        raise KeyError
    assert netns.namespace_of("thread-self") == before


def test_the_node_is_where_the_kernels_threads_are() -> None:
    assert netns.is_nodes()
    assert netns.node() == netns.namespace_of(2)


def test_elsewhere_the_node_is_told_and_entered(cgroup: Cgroup) -> None:
    def work() -> int:
        node = netns.node()
        unshare(CLONE_NEWNET)
        own = netns.namespace_of("thread-self")
        with netns.inside_nodes():
            is_entered = netns.namespace_of("thread-self") == node
        is_back = netns.namespace_of("thread-self") == own
        return 0 if is_entered and is_back and not netns.is_nodes() and netns.node() == node != own else 1

    assert Process(cgroup, work).wait() == 0


LOOK = """
from probes import netns
print(netns.is_nodes(), netns.node())
try:
    with netns.inside_nodes():
        print("entered")
except PermissionError as error:
    print(error.strerror)
"""


def test_without_the_capabilities_the_node_is_told_from_elsewhere_but_not_entered() -> None:
    """As in a pod of the base."""
    command = ["setpriv", "--no-new-privs", "--inh-caps=-all", "--bounding-set=-all"]
    command += [sys.executable, "-c", LOOK]
    here = subprocess.run(command, capture_output=True, text=True, check=True)
    assert here.stdout.splitlines() == [f"True {netns.node()}", "entered"]
    there = subprocess.run(["unshare", "--net", *command], capture_output=True, text=True, check=True)
    assert there.stdout.splitlines() == ["False 0", netns.NOT_ENTERED]
