"""The objects of deploy/kustomize/base as Python reads them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
BASE = ROOT / "deploy/kustomize/base"
DAEMONSET = BASE / "daemonset.yaml"

Object = dict[str, Any]


def kustomization() -> Object:
    return dict(yaml.safe_load((BASE / "kustomization.yaml").read_text()))


def objects() -> list[Object]:
    return [
        found
        for name in kustomization()["resources"]
        for found in yaml.safe_load_all((BASE / name).read_text())
    ]


def one(kind: str) -> Object:
    (found,) = (candidate for candidate in objects() if candidate["kind"] == kind)
    return found


def pod() -> Object:
    return dict(one("DaemonSet")["spec"]["template"])


def container() -> Object:
    (only,) = pod()["spec"]["containers"]
    return dict(only)


def capabilities(overlay: str = "") -> list[str]:
    """Of the base, or of an overlay that adds to them."""
    patch = patched(overlay) if overlay else {"containers": [container()]}
    return list(patch["containers"][0]["securityContext"]["capabilities"]["add"])


def patched(overlay: str) -> Object:
    """What an overlay's capabilities.yaml has of the pod."""
    text = (BASE.parent / overlay / "capabilities.yaml").read_text()
    return dict(yaml.safe_load(text)["spec"]["template"]["spec"])
