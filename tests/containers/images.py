"""Container images made on the spot: busybox and a pause binary in one OCI archive, no registry involved."""

from __future__ import annotations

import hashlib
import io
import json
import platform
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import Any

BUSYBOX = "docker.io/library/busybox:local"
PAUSE = "registry.k8s.io/pause:local"
_PAUSE_SOURCE = Path(__file__).with_name("pause.c")
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
_DIRECTORIES = ("bin", "dev", "etc", "proc", "root", "sys", "tmp", "var")
_CREATED = "2024-01-01T00:00:00Z"  # the same bytes every time


def write_archive(path: Path) -> None:
    """Writes an archive with both images, as `ctr images import` takes it."""
    with tarfile.open(path, "w") as archive:
        blobs: dict[str, bytes] = {}
        manifests = [
            _image(blobs, BUSYBOX, _busybox_layer(), {"Cmd": ["/bin/sh"], "Env": ["PATH=/bin"]}),
            _image(
                blobs, PAUSE, _pause_layer(path.parent), {"Entrypoint": ["/pause"], "User": "65535:65535"}
            ),
        ]
        index = {"schemaVersion": 2, "mediaType": _media("index"), "manifests": manifests}
        _add_file(archive, "oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
        _add_file(archive, "index.json", json.dumps(index).encode())
        for digest, blob in blobs.items():
            _add_file(archive, "blobs/" + digest.replace(":", "/"), blob)


def _image(blobs: dict[str, bytes], name: str, layer: bytes, config: dict[str, Any]) -> dict[str, Any]:
    architecture = _ARCHITECTURES[platform.machine()]
    layer_entry = _descriptor(blobs, layer, "layer")
    whole = {
        "created": _CREATED,
        "architecture": architecture,
        "os": "linux",
        "config": config,
        "rootfs": {"type": "layers", "diff_ids": [layer_entry["digest"]]},
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": _media("manifest"),
        "config": _descriptor(blobs, json.dumps(whole).encode(), "config"),
        "layers": [layer_entry],
    }
    return {
        **_descriptor(blobs, json.dumps(manifest).encode(), "manifest"),
        "platform": {"architecture": architecture, "os": "linux"},
        "annotations": {"io.containerd.image.name": name, "org.opencontainers.image.ref.name": "local"},
    }


def _descriptor(blobs: dict[str, bytes], blob: bytes, kind: str) -> dict[str, Any]:
    digest = "sha256:" + hashlib.sha256(blob).hexdigest()
    blobs[digest] = blob
    return {"mediaType": _media(kind), "digest": digest, "size": len(blob)}


def _media(kind: str) -> str:
    suffix = "+json" if kind != "layer" else ".tar"
    return f"application/vnd.oci.image.{kind}.v1{suffix}"


def _busybox_layer() -> bytes:
    found = shutil.which("busybox")
    assert found, "busybox is missing: apt-get install busybox-static"
    applets = subprocess.run([found, "--list"], capture_output=True, text=True, check=True).stdout.split()
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as layer:
        for name in _DIRECTORIES:
            _add(layer, name, tarfile.DIRTYPE, mode=0o1777 if name == "tmp" else 0o755)
        _add_file(layer, "etc/passwd", b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n")
        _add_file(layer, "bin/busybox", Path(found).read_bytes(), mode=0o755)
        for applet in applets:
            if applet != "busybox":
                _add(layer, f"bin/{applet}", tarfile.SYMTYPE, target="busybox")
    return buffer.getvalue()


def _pause_layer(directory: Path) -> bytes:
    binary = directory / "pause"
    subprocess.run(["gcc", "-Os", "-static", "-s", "-o", binary, _PAUSE_SOURCE], check=True)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as layer:
        _add_file(layer, "pause", binary.read_bytes(), mode=0o755)
    return buffer.getvalue()


def _add_file(archive: tarfile.TarFile, name: str, content: bytes, mode: int = 0o644) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(content), mode
    archive.addfile(entry, io.BytesIO(content))


def _add(archive: tarfile.TarFile, name: str, kind: bytes, *, mode: int = 0o755, target: str = "") -> None:
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode, entry.linkname = kind, mode, target
    archive.addfile(entry)
