"""`[OUTPUT] Name loki`: Grafana Loki by its push API in JSON, as Fluent Bit's output of that name."""

from __future__ import annotations

import asyncio
import json
import logging
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from collector.accessor import Accessor, read
from collector.config.kinds import Kind
from collector.config.schema import boolean, choice, integer, key, text
from collector.entries import unpack_entries
from collector.errors import OperatorError
from collector.outputs.http_client import HeaderSettings, HttpOutput, is_header_value
from collector.outputs.loki_streams import (
    Label,
    Shape,
    Streams,
    label_text,
    labels_of_map,
    push_body,
    read_label,
)
from collector.plugin import Output, Rejected

if TYPE_CHECKING:
    from collector.context import Context
    from collector.delivery.chunk import Chunk, Packed

SUMMARY = "Pushes records to Grafana Loki."


def _items(written: str) -> list[str]:
    return [stripped for item in written.split(",") if (stripped := item.strip())]


def _read_labels(written: str) -> tuple[Label, ...]:
    return tuple(read_label(item) for item in _items(written))


def _read_keys(written: str) -> tuple[Accessor, ...]:
    return tuple(read(item) for item in _items(written))


def _read_label_keys(written: str) -> tuple[Label, ...]:
    return tuple(read_label(item if item.startswith("$") else f"${item}") for item in _items(written))


def _read_single_key(written: str) -> str:
    if written.lower() == "raw":
        return "raw"
    return "on" if boolean.read(written) else "off"


label_list: Kind[Any] = Kind("list of name=value, name=$key or $key", _read_labels, show=lambda value: "")
label_key_list: Kind[Any] = Kind("list of keys", _read_label_keys, show=lambda value: "")
key_list: Kind[Any] = Kind("list of keys", _read_keys, show=lambda value: "")


@dataclass(frozen=True)
class Settings(HeaderSettings):
    """Keys of [OUTPUT] Name loki."""

    port: int = key("Port", integer(1, 65535), default="3100", help="Loki's port.")
    uri: str = key("URI", text, default="/loki/api/v1/push", help="Path to send to.")
    bearer_token: str = key("bearer_token", text, default="", help="Token to authenticate by.")
    tenant_id: str = key("tenant_id", text, default="", help="Tenant (X-Scope-OrgID); none where unset.")
    tenant_id_key: Accessor | None = key(  # noqa: RUF009
        "tenant_id_key",
        Kind("key", read, show=lambda value: ""),
        default=None,
        help="Value of the record that is its tenant.",
    )
    labels: tuple[Label, ...] = key("labels", label_list, default="job=fluent-bit", help="Labels of streams.")
    label_keys: tuple[Label, ...] = key(
        "label_keys",
        label_key_list,
        default=(),
        help="Values of the record that become labels.",
    )
    label_map_path: str = key(
        "label_map_path",
        text,
        default="",
        help="JSON file: keys as nested in records, names of labels as values.",
    )
    remove_keys: tuple[Accessor, ...] = key(
        "remove_keys", key_list, default=(), help="Keys left out of the line."
    )
    drop_single_key: str = key(
        "drop_single_key",
        Kind("On, Off or raw", _read_single_key),
        default="off",
        help="Whether a line with one key left is its value alone; `raw`: without quotes.",
    )
    line_format: str = key(
        "line_format", choice("json", "key_value"), default="json", help="How lines are written."
    )
    auto_kubernetes_labels: bool = key(
        "auto_kubernetes_labels",
        boolean,
        default="Off",
        help="Whether the pod's labels become labels.",
    )
    structured_metadata: tuple[Label, ...] = key(
        "structured_metadata",
        label_list,
        default=(),
        help="What goes beside the line, written as `labels` are.",
    )
    structured_metadata_map_keys: tuple[Accessor, ...] = key(
        "structured_metadata_map_keys", key_list, default=(), help="Maps of the record whose pairs go there."
    )
    compress: str | None = key(
        "Compress", choice("gzip"), default=None, help="gzip: requests are sent compressed."
    )

    def shape(self) -> Shape:
        """Raises OperatorError for a label map that can't be read."""
        found = (*self.labels, *self.label_keys, *self._label_map())
        # What has become a label or metadata is no longer in the line, as with Fluent Bit.
        moved = [one.accessor for one in (*found, *self.structured_metadata) if one.accessor]
        removed = (*self.remove_keys, *moved, *self.structured_metadata_map_keys)
        return Shape(
            labels=found,
            kubernetes_labels=self.auto_kubernetes_labels,
            removed=removed,
            metadata=self.structured_metadata,
            metadata_maps=self.structured_metadata_map_keys,
            tenant=self.tenant_id_key,
            line_format=self.line_format,
            single_key=self.drop_single_key,
        )

    def _label_map(self) -> list[Label]:
        if not self.label_map_path:
            return []
        try:
            with open(self.label_map_path, encoding="utf-8") as file:
                return labels_of_map(json.load(file))
        except (OSError, ValueError) as reason:
            raise OperatorError(
                f"label_map_path {self.label_map_path} can't be used: {reason}.",
                "No labels can be made by it.",
                'It is to be JSON such as {"kubernetes": {"namespace_name": "namespace"}}.',
            ) from None


class Loki(HttpOutput):
    """A request for each tenant of a chunk."""

    def __init__(self, settings: Settings, log: logging.Logger) -> None:
        super().__init__(settings, log)
        self._settings = settings
        self._shape = settings.shape()

    async def _deliver(self, chunk: Chunk) -> None:
        try:
            bodies = await asyncio.to_thread(bodies_by_tenant, chunk.entries, self._shape)
        except ValueError as reason:
            raise Rejected(str(reason)) from None
        for tenant, body in bodies:
            await self._client.send(
                self._settings.uri, body, self._headers(tenant), compress=self._settings.compress or ""
            )

    def _headers(self, tenant: str) -> list[tuple[str, str]]:
        own = self._settings
        headers = [("Content-Type", "application/json"), *own.headers]
        if own.bearer_token and not own.user:
            headers.append(("Authorization", f"Bearer {own.bearer_token}"))
        if tenant or own.tenant_id:
            headers.append(("X-Scope-OrgID", tenant or own.tenant_id))
        return headers


def bodies_by_tenant(entries: Packed, shape: Shape) -> list[tuple[str, bytes]]:
    """A request for each tenant ("": the output's own). Raises ValueError for entries that are none."""
    tenants: dict[str, Streams] = defaultdict(lambda: defaultdict(list))
    for time_ns, record in unpack_entries(entries):
        tenant = (shape.tenant and label_text(shape.tenant.value(record))) or ""
        line: list[Any] = [str(time_ns), shape.line(record)]
        if metadata := shape.structured(record):
            line.append(metadata)
        known = tenant if is_header_value(tenant) else ""
        tenants[known][tuple(shape.stream(record).items())].append(line)
    return [(tenant, push_body(streams)) for tenant, streams in tenants.items()]


def make(settings: Settings, context: Context) -> Output:
    """Raises OperatorError."""
    return Loki(settings, context.log)
