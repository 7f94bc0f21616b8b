"""A node of a cluster as a pod sees it: root, names and addresses of its own, and the servers it talks to.

Mount and network namespaces are real; the root is this machine's with a writable layer above it, /var/log and
/run are empty. Servers run in a thread inside the network namespace, so ports 443 and 24224 are free there.
"""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Self, TypeVar

from probes import netns
from tests.agent.agent import Agent
from tests.api_server import ApiServer
from tests.certificates import Authority
from tests.receiver import Receiver

API_NAME = "kubernetes.default.svc"
AGGREGATOR_NAME = "log-aggregator.monitoring.svc.cluster.local"
SERVICE_ACCOUNT_TOKEN = "a.service.account"
SECRETS = "run/secrets/kubernetes.io/serviceaccount"
TREE = Path(__file__).resolve().parents[2]
Result = TypeVar("Result")

# The layer is a tmpfs: an overlay can't be made of directories that are in an overlay themselves.
_SETUP = f"""
mount --make-rprivate /
ip link set lo up
mount -t tmpfs tmpfs "$1"
mkdir "$1/upper" "$1/work" "$1/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" "$1/root"
for place in /proc /sys /dev "$2"; do mount --rbind "$place" "$1/root$place"; done
mount -t tmpfs tmpfs "$1/root/var/log"
mount -t tmpfs tmpfs "$1/root/run"
mkdir -p "$1/root/fluent-bit/ssl" "$1/root/fluent-bit/etc" "$1/root/{SECRETS}" "$1/root/var/log/pods" \\
  "$1/root/var/log/containers" "$1/root/var/log/kubernetes/audit"
echo ready
exec sleep infinity
"""
_FETCH = """
import sys, urllib.request
print(urllib.request.urlopen(sys.argv[1], timeout=5).read().decode())
"""


class ClusterNode:
    """Entered, its servers run: `receiver` (forward over mutual TLS) and `api`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.receiver = Receiver()
        self.authority = Authority.make(folder / "authority")
        self.api = ApiServer(self.authority.server_context(subject=API_NAME))
        self.api.tokens.add(SERVICE_ACCOUNT_TOKEN)
        self._loop = asyncio.new_event_loop()
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> Self:
        layers = self._folder / "layers"
        layers.mkdir()
        command = ["unshare", "--mount", "--net", "sh", "-euc", _SETUP, "sh", str(layers), str(TREE)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"
        self.root = Path(f"/proc/{self._process.pid}/root{layers}/root")
        self._thread.start()
        assert self._started.wait(20)
        self._equip()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(20)
        self._process.kill()
        self._process.wait()

    def _equip(self) -> None:
        hosts = f"127.0.0.1 localhost {API_NAME} {AGGREGATOR_NAME}\n"
        certificate, private_key = self.authority.issue("client", subject="podwitness")
        for path, content in {
            "etc/hosts": hosts,
            "fluent-bit/ssl/ca.crt": self.authority.certificate.read_text(),
            "fluent-bit/ssl/client.crt": certificate.read_text(),
            "fluent-bit/ssl/client.key": private_key.read_text(),
            f"{SECRETS}/ca.crt": self.authority.certificate.read_text(),
            f"{SECRETS}/token": SERVICE_ACCOUNT_TOKEN,
        }.items():
            (self.root / path).write_text(content)

    def _serve(self) -> None:
        tls = self.authority.server_context(asks_client=True, subject=AGGREGATOR_NAME)
        with netns.inside(self._process.pid):
            self._loop.run_until_complete(self.receiver.start(tls=tls, port=24224))
            self._loop.run_until_complete(self.api.start(443))
            self._started.set()
            self._loop.run_forever()
            self._loop.run_until_complete(self.api.stop())
            self._loop.run_until_complete(self.receiver.stop())

    def do(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Something that servers do, in their thread."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    def wait_for(self, condition: Callable[[], bool]) -> None:
        """Until something that was received makes it true."""
        self.do(self.receiver.wait_until(condition, 25))

    def agent(self, configuration: str, **environment: str) -> Agent:
        """`podwitness -c CONFIGURATION` there."""
        inside = (
            "nsenter",
            f"--mount=/proc/{self._process.pid}/ns/mnt",
            f"--net=/proc/{self._process.pid}/ns/net",
        )
        variables = [f"{name}={value}" for name, value in environment.items()]
        into = ("chroot", f"{self._folder}/layers/root", "env", "-C", str(TREE), *variables)
        return Agent("-c", configuration, prefix=(*inside, *into))

    def get(self, page: str) -> str:
        """A page of the agent's HTTP service."""
        command = ["nsenter", f"--net=/proc/{self._process.pid}/ns/net", sys.executable, "-c", _FETCH]
        page_url = f"http://127.0.0.1:2020{page}"
        return subprocess.run([*command, page_url], capture_output=True, text=True, check=False).stdout

    def journal(self, entries: str) -> None:
        """Adds entries in the export format to the node's journal."""
        machine = (self.root / "etc/machine-id").read_text().strip()
        folder = self.root / "var/log/journal" / machine
        with contextlib.suppress(FileExistsError):
            folder.mkdir(parents=True)
        writer = ["/lib/systemd/systemd-journal-remote", "-o", str(folder / "system.journal"), "-"]
        subprocess.run(writer, input=entries.encode(), check=True, capture_output=True)
