"""The plugins that exist, by kind and Name. A module is imported when a configuration asks for it.

Each module has `Settings` (a dataclass of keys, see collector/config/schema.py),
`SUMMARY` (one sentence) and `make(settings, context)`.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, cast

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    from collector.context import Context

PluginKind = Literal["input", "filter", "output"]


class Plugin(Protocol):
    """What a plugin's module has. `make` gives an Input, a Filter or an Output."""

    SUMMARY: str
    Settings: type[DataclassInstance]

    def make(self, settings: Any, context: Context) -> Any: ...


@dataclass(frozen=True, slots=True)
class Row:
    kind: PluginKind
    name: str
    module: str

    def load(self) -> Plugin:
        """Raises ImportError where a library that the plugin needs is missing."""
        return cast(Plugin, importlib.import_module(self.module))


PLUGINS: tuple[Row, ...] = (
    Row("input", "tail", "collector.inputs.tail"),
    Row("input", "systemd", "collector.inputs.systemd"),
    Row("input", "ebpf", "collector.inputs.ebpf"),
    Row("input", "forward", "collector.inputs.forward"),
    Row("input", "kubernetes_events", "collector.inputs.kubernetes_events"),
    Row("input", "http", "collector.inputs.http"),
    Row("input", "dummy", "collector.inputs.dummy"),
    Row("input", "cpu", "collector.inputs.cpu"),
    Row("input", "mem", "collector.inputs.mem"),
    Row("filter", "kubernetes", "collector.filters.kubernetes"),
    Row("filter", "modify", "collector.filters.modify"),
    Row("filter", "parser", "collector.filters.parser"),
    Row("filter", "grep", "collector.filters.grep"),
    Row("filter", "record_modifier", "collector.filters.record_modifier"),
    Row("filter", "nest", "collector.filters.nest"),
    Row("filter", "rewrite_tag", "collector.filters.rewrite_tag"),
    Row("filter", "throttle", "collector.filters.throttle"),
    Row("filter", "multiline", "collector.filters.multiline"),
    Row("output", "forward", "collector.outputs.forward"),
    Row("output", "http", "collector.outputs.http"),
    Row("output", "es", "collector.outputs.es"),
    Row("output", "opensearch", "collector.outputs.opensearch"),
    Row("output", "loki", "collector.outputs.loki"),
    Row("output", "opentelemetry", "collector.outputs.opentelemetry"),
    Row("output", "kafka", "collector.outputs.kafka"),
    Row("output", "terminal", "collector.outputs.terminal"),
    Row("output", "stdout", "collector.outputs.stdout"),
    Row("output", "file", "collector.outputs.file"),
    Row("output", "null", "collector.outputs.null"),
)


def names(kind: PluginKind) -> tuple[str, ...]:
    """Names of the plugins of a kind."""
    return tuple(row.name for row in PLUGINS if row.kind == kind)


def find(kind: PluginKind, name: str) -> Row | None:
    """The plugin of that name, compared without case, or None."""
    lowered = name.lower()
    return next((row for row in PLUGINS if row.kind == kind and row.name == lowered), None)
