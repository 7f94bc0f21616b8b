"""The DaemonSet's pod, run by runc as the kubelet would have it run, with this machine as its image.

A fake in one thing: there is no kubelet, so the manifest is turned into an OCI bundle here. Namespaces,
mounts, capabilities, read-only root and no_new_privs are the manifest's, and runc's own to enforce.
"""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.error
import uuid
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from collector.privilege import CAPABILITIES
from tests.deploy import manifests
from tests.polling import until

START_S = 60.0  # compiling the probes takes seconds on a busy machine
# Mounts that containerd gives every container; the manifest's come on top.
_OWN_MOUNTS = [
    {"destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid", "noexec", "nodev"]},
    {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"]},
    {
        "destination": "/sys",
        "type": "sysfs",
        "source": "sysfs",
        "options": ["nosuid", "noexec", "nodev", "ro"],
    },
]
_FETCH = """
import sys, urllib.error, urllib.request
try:
    answer = urllib.request.urlopen(sys.argv[1], timeout=5)
except urllib.error.HTTPError as error:
    answer = error
print(answer.status)
print(answer.read().decode())
"""


def granted(overlay: str) -> list[str]:
    """The manifest's capabilities, but for those that this machine itself lacks and could not give."""
    line = next(
        row for row in Path("/proc/self/status").read_text().splitlines() if row.startswith("CapBnd:")
    )
    own = int(line.split()[1], 16)
    names = manifests.capabilities(overlay)
    return [f"CAP_{name}" for name in names if own >> CAPABILITIES.index(name) & 1]


def _bound(path: Path) -> dict[str, Any]:
    """The machine's own directory at the same place."""
    return {"destination": str(path), "type": "bind", "source": str(path), "options": ["rbind", "ro"]}


class Pod:
    """`host` is what the pod's hostPath volumes see as the host's root; the cgroup tree is the real one.

    `overlay` is a folder beside kustomize/base whose capabilities.yaml counts.
    """

    def __init__(self, host: Path, config: str, overlay: str = "") -> None:
        self.host = host
        self._overlay = overlay
        self._name = f"podwitness-test-{uuid.uuid4().hex[:8]}"
        self._bundle = host / "bundle"
        self._runc = ["runc", "--root", str(host / "runc")]
        self._prepare(config)

    def __enter__(self) -> Self:
        overlay = f"lowerdir=/,upperdir={self._bundle}/over/upper,workdir={self._bundle}/over/work"
        script = (
            'mount -t tmpfs tmpfs "$1/over"; mkdir "$1/over/upper" "$1/over/work"; '
            'mount -t overlay overlay -o "$2" "$1/rootfs"; shift 2; exec "$@"'
        )
        run = [*self._runc, "run", "--bundle", str(self._bundle), self._name]
        with (self.host / "output").open("wb") as output:
            self._process = subprocess.Popen(
                ["unshare", "--mount", "sh", "-euc", script, "sh", str(self._bundle), overlay, *run],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        subprocess.run([*self._runc, "delete", "--force", self._name], check=False, capture_output=True)
        self._process.wait()

    def output(self) -> str:
        return (self.host / "output").read_text(errors="replace")

    def get(self, page: str) -> tuple[int, str]:
        """Status and body of a page, asked inside the pod's network as a kubelet's probe is."""
        url = f"http://127.0.0.1:{manifests.container()['ports'][0]['containerPort']}{page}"
        command = ["nsenter", "--net", "--target", str(self._pid()), sys.executable, "-c", _FETCH, url]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise urllib.error.URLError(done.stderr.splitlines()[-1])
        status, _, body = done.stdout.partition("\n")
        return int(status), body

    def _pid(self) -> int:
        done = subprocess.run([*self._runc, "state", self._name], capture_output=True, text=True, check=False)
        if done.returncode:
            raise urllib.error.URLError(done.stderr)
        return int(json.loads(done.stdout)["pid"])

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """`podwitness ARGUMENTS` beside it, as `kubectl exec` runs it."""
        command = [*self._runc, "exec", self._name, sys.executable, "-m", "collector", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    def status(self) -> str:
        """/proc/PID/status of the collector."""
        return Path(f"/proc/{self._pid()}/status").read_text()

    def wait_for(self, page: str, expected: str) -> str:
        """The page's body once it has `expected`; fails with the pod's output when it does not come."""
        seen = ""

        def is_there() -> bool:
            nonlocal seen
            assert self._process.poll() is None, "the pod has ended"
            try:
                status, seen = self.get(page)
            except urllib.error.URLError as error:
                status, seen = 0, str(error)
            return status == 200 and expected in seen

        try:
            until(is_there, f"{page} with {expected!r}", START_S)
        except AssertionError as error:
            raise AssertionError(f"{error}. It is:\n{seen}\n\nThe pod said:\n{self.output()}") from None
        return seen

    def _prepare(self, config: str) -> None:
        for folder in ("rootfs", "over"):
            (self._bundle / folder).mkdir(parents=True)
        (self.host / "config").mkdir()
        (self.host / "config/fluent-bit.conf").write_text(config)
        (self.host / "etc").mkdir()
        (self.host / "etc/machine-id").write_text("0123456789abcdef0123456789abcdef\n")
        (self._bundle / "config.json").write_text(json.dumps(self._spec()))

    def _spec(self) -> dict[str, Any]:
        security = manifests.container()["securityContext"]
        namespaces = ["mount", "ipc", "uts", "cgroup"]
        if not self._overlay or not manifests.patched(self._overlay).get("hostNetwork"):
            namespaces.append("network")
        if not manifests.pod()["spec"].get("hostPID"):
            namespaces.append("pid")
        return {
            "ociVersion": "1.0.2",
            "hostname": self._name,
            "root": {"path": "rootfs", "readonly": security["readOnlyRootFilesystem"]},
            "process": {
                "args": [sys.executable, "-m", "collector", *manifests.container()["args"]],
                "cwd": str(manifests.ROOT),
                "env": [
                    f"{each['name']}={each.get('value', 'node-1')}" for each in manifests.container()["env"]
                ],
                "user": {"uid": security["runAsUser"], "gid": 0},
                "noNewPrivileges": not security["allowPrivilegeEscalation"],
                "capabilities": dict.fromkeys(("bounding", "effective", "permitted"), granted(self._overlay)),
            },
            # The tree under test last: it may be below /tmp, which the manifest covers.
            "mounts": [*_OWN_MOUNTS, *self._mounts(), _bound(manifests.ROOT)],
            "linux": {
                "namespaces": [{"type": kind} for kind in namespaces],
                "cgroupsPath": f"/{self._name}",
            },
        }

    def _mounts(self) -> list[dict[str, Any]]:
        volumes = {volume["name"]: volume for volume in manifests.pod()["spec"]["volumes"]}
        return [self._mount(mount, volumes[mount["name"]]) for mount in manifests.container()["volumeMounts"]]

    def _mount(self, mount: dict[str, Any], volume: dict[str, Any]) -> dict[str, Any]:
        mode = "ro" if mount.get("readOnly") else "rw"
        if "emptyDir" in volume:
            size = volume["emptyDir"]["sizeLimit"].removesuffix("i")
            return {
                "destination": mount["mountPath"],
                "type": "tmpfs",
                "source": "tmpfs",
                "options": ["nosuid", "nodev", mode, f"size={size}"],
            }
        spread = "rslave" if mount.get("mountPropagation") == "HostToContainer" else "rprivate"
        return {
            "destination": mount["mountPath"],
            "type": "bind",
            "source": str(self._source(volume)),
            "options": ["rbind", spread, mode],
        }

    def _source(self, volume: dict[str, Any]) -> Path:
        if "configMap" in volume:
            return self.host / "config"
        if "secret" in volume:  # optional, and not there
            path = self.host / "no-secret"
        elif volume["hostPath"]["path"].startswith("/sys/"):
            return Path(volume["hostPath"]["path"])
        else:
            path = self.host / volume["hostPath"]["path"].lstrip("/")
        if not path.exists():
            path.mkdir(parents=True)
        return path
