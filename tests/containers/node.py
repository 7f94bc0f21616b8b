"""A Kubernetes node without the kubelet: containerd and runc in namespaces and a directory of its own.

`root` is the node's root directory as an agent sees it with the host's root mounted: `var/log/pods`,
`var/log/containers` and `run/containerd` are below it. The node has its own mount, network, host name and pid
namespaces, so that killing its first process removes all that it started, mounts included. Only the cgroups
are the machine's.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

import psutil

from tests.containers import images
from tests.containers.cri import EXITED, ContainerConfig, Cri, ExecResult, PodConfig, Refused
from tests.polling import until

Value = TypeVar("Value")

_CONFIG = """\
version = 2
root = "{root}/var/lib/containerd"
state = "{root}/run/containerd"
oom_score = 0
[grpc]
  address = "{root}/run/containerd/containerd.sock"
[plugins."io.containerd.internal.v1.opt"]
  path = "{root}/opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  # A machine without CAP_SYS_RESOURCE may not make itself less likely to be killed.
  restrict_oom_score_adj = true
  disable_apparmor = true
  tolerate_missing_hugetlb_controller = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{root}/etc/cni/net.d"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      Root = "{root}/run/runc"
"""
_NETWORK = """\
{{"cniVersion": "0.4.0", "name": "pods", "plugins": [{{"type": "bridge", "bridge": "cni0", "isGateway": true,
 "hairpinMode": true, "ipam": {{"type": "host-local", "dataDir": "{root}/run/cni",
 "ranges": [[{{"subnet": "10.88.0.0/24"}}]], "routes": [{{"dst": "0.0.0.0/0"}}]}}}}]}}
"""
# The shims' sockets are in /run/containerd/s whatever the configuration says: a /run of the node's own.
_INIT = """\
set -e
mount -t tmpfs tmpfs /run
mkdir /run/lock /run/netns
hostname {name}
ip link set lo up
exec containerd --config {root}/etc/containerd.toml
"""


def cgroup2_root() -> Path:
    """Where the cgroup2 hierarchy is mounted on this machine: alone, or beside those of version 1."""
    unified = Path("/sys/fs/cgroup/unified")
    return unified if (unified / "cgroup.controllers").exists() else Path("/sys/fs/cgroup")


def cgroup_roots() -> list[Path]:
    """The roots of all cgroup hierarchies; runc makes a container's cgroup in each."""
    base = Path("/sys/fs/cgroup")
    return [base] if (base / "cgroup.procs").exists() else [root for root in base.iterdir() if root.is_dir()]


@dataclass(slots=True)
class Container:
    """A container that was started. Times out rather than hangs."""

    cri: Cri
    pod: Pod
    id: str
    name: str
    restart: int
    log_path: str
    link_path: str
    is_removed: bool = False

    @property
    def cgroup_path(self) -> str:
        """From the root of the hierarchy."""
        return f"{self.pod.cgroup_path}/{self.id}"

    @property
    def cgroup_id(self) -> int:
        """As the kernel's events have it. Only while the container has a process."""
        return (cgroup2_root() / self.cgroup_path[1:]).stat().st_ino

    @property
    def pid(self) -> int:
        """Of its first process, as this machine counts."""
        processes = (cgroup2_root() / self.cgroup_path[1:] / "cgroup.procs").read_text().split()
        return min(int(pid) for pid in processes)

    def exec(self, argv: list[str], timeout_s: int = 10) -> ExecResult:
        """Runs a command in it, as `kubectl exec` does, and waits for its end."""
        return self.cri.exec(self.id, argv, timeout_s)

    def wait(self, deadline_s: float = 20) -> int:
        """Waits for its end. Returns the exit code."""
        return until(
            lambda: (status,) if (status := self.cri.status(self.id)).state == EXITED else None,
            f"end of container {self.name}",
            deadline_s,
        )[0].exit_code

    def log(self) -> bytes:
        return Path(self.log_path).read_bytes()

    def stop(self, timeout_s: int = 1) -> None:
        """Asks it to end, and kills it after the timeout."""
        self.cri.stop(self.id, timeout_s)

    def remove(self) -> None:
        """Stops it and removes it with its log, in the kubelet's order: log, link, container."""
        if self.is_removed:
            return
        self.stop(0)
        Path(self.log_path).unlink(missing_ok=True)
        Path(self.link_path).unlink(missing_ok=True)
        self.cri.remove(self.id)
        self.is_removed = True


@dataclass(slots=True)
class Pod:
    """A pod with its sandbox."""

    node: Node
    config: PodConfig
    sandbox_id: str
    containers: list[Container] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.config.name

    @property
    def namespace(self) -> str:
        return self.config.namespace

    @property
    def uid(self) -> str:
        return self.config.uid

    @property
    def log_directory(self) -> str:
        return self.config.log_directory

    @property
    def cgroup_path(self) -> str:
        """From the root of the hierarchy."""
        return self.config.cgroup_parent

    @property
    def sandbox_cgroup_id(self) -> int:
        return (cgroup2_root() / self.cgroup_path[1:] / self.sandbox_id).stat().st_ino

    @property
    def ip(self) -> str:
        """ "" on the node's network."""
        return self.node.cri.sandbox_ip(self.sandbox_id)

    def run(
        self,
        name: str,
        argv: list[str],
        *,
        image: str = images.BUSYBOX,
        environment: dict[str, str] | None = None,
        mounts: dict[str, str] | None = None,
        restart: int = 0,
    ) -> Container:
        """Creates and starts a container, and makes its log's directory and link as the kubelet does."""
        place = f"{name}/{restart}.log"
        Path(self.log_directory, name).mkdir(parents=True, exist_ok=True)
        config = ContainerConfig(name, image, argv, environment or {}, mounts or {}, restart, place)
        container_id = self.node.cri.create(self.sandbox_id, self.config, config)
        link = f"{self.node.root}/var/log/containers/{self.name}_{self.namespace}_{name}-{container_id}.log"
        log_path = f"{self.log_directory}/{place}"
        container = Container(self.node.cri, self, container_id, name, restart, log_path, link)
        self.containers.append(container)
        self.node.cri.start(container_id)
        Path(link).symlink_to(log_path)
        return container

    def remove(self) -> None:
        """Removes its containers, the sandbox, the logs and the cgroups."""
        for container in self.containers:
            container.remove()
        self.node.cri.stop_sandbox(self.sandbox_id)
        self.node.cri.remove_sandbox(self.sandbox_id)
        shutil.rmtree(self.log_directory, ignore_errors=True)
        self.node.pods.remove(self)
        remove_cgroups(self.cgroup_path)


class Node:
    """The node. `close` leaves nothing of it on the machine."""

    def __init__(self, root: Path, name: str = "node1") -> None:
        assert len(str(root)) < 40, "the path of a UNIX socket has at most 107 bytes"
        self.root = str(root)
        self.name = name
        self.socket = f"{root}/run/containerd/containerd.sock"
        self.pods: list[Pod] = []
        self._write_files()
        self._process = self._start()
        try:
            self.cri = self._connect()
            self._import_images()
        except BaseException:
            self._kill()
            shutil.rmtree(self.root)
            raise

    def pod(
        self,
        name: str,
        namespace: str = "default",
        *,
        uid: str = "",
        qos: str = "besteffort",
        host_network: bool = False,
        privileged: bool = False,
        labels: Mapping[str, str] | None = None,
    ) -> Pod:
        """A new pod. `uid` of a static one: 32 hex digits. `qos`: besteffort, burstable, "": guaranteed."""
        uid = uid or str(uuid.uuid4())
        log_directory = f"{self.root}/var/log/pods/{namespace}_{name}_{uid}"
        parent = "/".join(part for part in ("/kubepods", qos, f"pod{uid}") if part)
        config = PodConfig(
            name, namespace, uid, log_directory, parent, host_network, privileged, labels or {}
        )
        Path(log_directory).mkdir()
        pod = Pod(self, config, sandbox_id="")
        self.pods.append(pod)
        pod.sandbox_id = self.cri.run_sandbox(config)
        return pod

    def close(self) -> None:
        self.cri.close()
        self._kill()
        for pod in self.pods:
            remove_cgroups(pod.cgroup_path)
        shutil.rmtree(self.root)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def containerd_log(self) -> str:
        return Path(self.root, "containerd.log").read_text(errors="replace")

    def _write_files(self) -> None:
        for directory in ("etc/cni/net.d", "run/containerd", "var/log/pods", "var/log/containers", "opt"):
            Path(self.root, directory).mkdir(parents=True)
        Path(self.root, "etc/containerd.toml").write_text(_CONFIG.format(root=self.root, pause=images.PAUSE))
        Path(self.root, "etc/cni/net.d/10-pods.conflist").write_text(_NETWORK.format(root=self.root))

    def _start(self) -> subprocess.Popen[bytes]:
        namespaces = ["--mount", "--propagation", "private", "--net", "--uts", "--pid", "--mount-proc"]
        # The node dies with us, however we die: unshare by the first, its child by the second.
        with_us = ["setpriv", "--pdeathsig", "KILL", "unshare", "--fork", "--kill-child"]
        command = [*with_us, *namespaces, "sh", "-c"]
        with Path(self.root, "containerd.log").open("wb") as log:
            return subprocess.Popen(
                [*command, _INIT.format(root=self.root, name=self.name)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _connect(self) -> Cri:
        until(lambda: self._is_alive() and os.path.exists(self.socket), "containerd's socket")
        cri = Cri(self.socket)
        until(lambda: self._is_alive() and _answer(cri), "containerd's CRI")
        return cri

    def _is_alive(self) -> bool:
        if self._process.poll() is not None:
            raise RuntimeError(f"containerd ended at start:\n{self.containerd_log()}")
        return True

    def _import_images(self) -> None:
        archive = Path(self.root, "images.tar")
        images.write_archive(archive)
        command = ["ctr", "--address", self.socket, "--namespace", "k8s.io", "images", "import", str(archive)]
        subprocess.run(command, check=True, capture_output=True)
        archive.unlink()
        # CRI learns of an image by an event.
        until(lambda: {images.BUSYBOX, images.PAUSE} <= self.cri.images(), "images")

    def _kill(self) -> None:
        """Kills the node's first process, and by that all of its pid namespace; `unshare` then ends."""
        if self._process.poll() is None:
            for first in psutil.Process(self._process.pid).children():
                first.kill()
        self._process.wait()


def _answer(cri: Cri) -> str:
    try:
        return cri.version()
    except Refused:
        return ""


def remove_cgroups(path: str) -> None:
    """Removes a pod's cgroups from all hierarchies, and empty ones above. Waits for their processes' end."""
    for root in cgroup_roots():
        top = root / path[1:]
        directories = sorted(top.glob("**/"), key=lambda one: len(one.parts), reverse=True)
        for directory in directories:
            until(partial(_remove_directory, directory), f"end of {directory}")
        for above in top.parents:
            if above == root or not above.is_dir():
                break
            try:
                above.rmdir()
            except OSError:  # another node's pods
                break


def _remove_directory(directory: Path) -> bool:
    try:
        directory.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True
