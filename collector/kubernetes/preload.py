"""Metadata from files (Kube_Meta_Preload_Cache_Dir), named and formed as Fluent Bit's."""

from __future__ import annotations

import os

import msgspec

from collector.kubernetes.objects import Metadata, Pod, UnreadableObject, read_metadata, read_pod

FILE_BYTES = 4 << 20


class Preload:
    """`<namespace>_<pod>.meta` and `<namespace>.namespace_meta` below a directory."""

    def __init__(self, directory: str) -> None:
        self._directory = directory

    def pod(self, namespace: str, name: str) -> Pod | None:
        """None where there is no such file, or it can't be read."""
        text = self._read(f"{namespace}_{name}.meta")
        if text is None:
            return None
        try:
            pod = read_pod(text)
        except UnreadableObject:
            return None
        # The file's name says whose it is; the object may be empty.
        return msgspec.structs.replace(pod, namespace=namespace, name=name)

    def namespace(self, name: str) -> Metadata | None:
        text = self._read(f"{name}.namespace_meta")
        if text is None:
            return None
        try:
            return read_metadata(text)
        except UnreadableObject:
            return None

    def _read(self, name: str) -> bytes | None:
        if "/" in name:  # a name is whatever the tag has
            return None
        try:
            with open(os.path.join(self._directory, name), "rb") as file:
                return file.read(FILE_BYTES)
        except (OSError, ValueError):
            return None
