"""Records as Loki's streams: which labels they have, and what their line is.

Source: Fluent Bit's plugins/out_loki/loki.c and Loki's push API. Labels are
`name=value`, `name=$key`, `$key`; a name that Loki would not take has `_` for
each character that can't stand there.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from collector.accessor import ABSENT, Accessor, read, without
from collector.entries import Pairs
from collector.outputs.text import as_json, plain_text, printed

_NOT_IN_A_NAME = re.compile(r"[^a-zA-Z0-9_]")


@dataclass(frozen=True, slots=True)
class Label:
    """A label with a value of its own, or one that is read from the record."""

    name: str
    value: str = ""
    accessor: Accessor | None = None

    def of(self, record: Pairs) -> str | None:
        return self.value if self.accessor is None else label_text(self.accessor.value(record))


def label_name(name: str) -> str:
    """A name that Loki takes."""
    cleaned = _NOT_IN_A_NAME.sub("_", name)
    return f"_{cleaned}" if cleaned[:1].isdigit() else cleaned


def label_text(value: Any) -> str | None:
    """A value as a label has it; None for what can be none."""
    if value is ABSENT or value is None or isinstance(value, dict | list):
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    return plain_text(value) or None


def read_label(written: str) -> Label:
    """`name=value`, `name=$key` or `$key`. Raises ValueError with a sentence."""
    name, equals, value = (part.strip() for part in written.partition("="))
    if name.startswith("$") and not equals:
        accessor = read(name)
        return Label(label_name(str(accessor.steps[-1] if accessor.steps else accessor.name)), "", accessor)
    if not equals or not name or not value:
        raise ValueError(f"expected {written} to be name=value or $key.")
    if name != label_name(name):
        raise ValueError(f"expected letters, digits and _ in the name of a label, not {name}.")
    return Label(name, "", read(value)) if value.startswith("$") else Label(name, value)


def labels_of_map(mapping: Any, keys: tuple[str, ...] = ()) -> list[Label]:
    """Labels of a label map file: keys nested as in records, names as values. Raises ValueError."""
    if isinstance(mapping, str):
        if not keys:
            raise ValueError("expected an object of keys and names of labels.")
        return [Label(label_name(mapping), "", Accessor(keys[0], keys[1:]))]
    if not isinstance(mapping, dict):
        raise ValueError(f"expected a name or an object at {'.'.join(keys) or 'the top'}.")
    return [label for name, inner in mapping.items() for label in labels_of_map(inner, (*keys, name))]


@dataclass(frozen=True, slots=True)
class Shape:
    """How records become lines of streams."""

    labels: tuple[Label, ...]
    kubernetes_labels: bool = False
    removed: tuple[Accessor, ...] = ()
    metadata: tuple[Label, ...] = ()
    metadata_maps: tuple[Accessor, ...] = ()
    tenant: Accessor | None = None
    line_format: str = "json"
    single_key: str = "off"  # on: a lone value in line_format; raw: as it is

    def stream(self, record: Pairs) -> dict[str, str]:
        """The labels of a record's stream."""
        found = {label.name: value for label in self.labels if (value := label.of(record))}
        if self.kubernetes_labels:
            pod_labels = Accessor("kubernetes", ("labels",)).value(record)
            if isinstance(pod_labels, dict):
                for name, value in pod_labels.items():
                    if (text := label_text(value)) is not None:
                        found.setdefault(label_name(plain_text(name)), text)
        return found

    def structured(self, record: Pairs) -> dict[str, str]:
        """What goes beside the line."""
        found: dict[str, str] = {}
        for accessor in self.metadata_maps:
            inside = accessor.value(record)
            if isinstance(inside, dict):
                for name, inner in inside.items():
                    found[label_name(plain_text(name))] = _metadata_text(inner)
        return found | {label.name: value for label in self.metadata if (value := label.of(record))}

    def line(self, record: Pairs) -> str:
        left = without(record, self.removed)
        if self.single_key != "off" and len(left) == 1:
            value = left[0][1]
            if self.single_key == "raw" and isinstance(value, str | bytes):
                return plain_text(value)
            return _json(value) if self.line_format == "json" else _logfmt_value(value)
        if self.line_format == "json":
            return as_json(left)
        return " ".join(f"{plain_text(name)}={_logfmt_value(value)}" for name, value in left)


def _metadata_text(value: Any) -> str:
    return _json(value) if isinstance(value, dict | list) else label_text(value) or ""


def _logfmt_value(value: Any) -> str:
    if isinstance(value, str | bytes):
        return json.dumps(plain_text(value), ensure_ascii=False)
    if isinstance(value, float | int | None):
        return printed(value)
    return json.dumps(_json(value))


def _json(value: Any) -> str:
    return as_json([("", value)])[len('{"":') : -1]


Streams = dict[tuple[tuple[str, str], ...], list[list[Any]]]
"""Lines by the labels of their streams."""


def push_body(streams: Streams) -> bytes:
    """The request: streams by their labels, lines as [time in ns, line] or [time in ns, line, metadata]."""
    body = {"streams": [{"stream": dict(labels), "values": lines} for labels, lines in streams.items()]}
    return json.dumps(body, separators=(",", ":")).encode()
