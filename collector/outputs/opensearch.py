"""`[OUTPUT] Name opensearch`: OpenSearch, as Fluent Bit's output of that name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from collector.config.schema import key, text
from collector.outputs.bulk import Bulk, BulkSettings
from collector.plugin import Output

if TYPE_CHECKING:
    from collector.context import Context

SUMMARY = "Stores records in OpenSearch."


@dataclass(frozen=True)
class Settings(BulkSettings):
    """Keys of [OUTPUT] Name opensearch."""

    tag_key: str = key("Tag_Key", text, default="_flb-key", help="What the tag is called in records.")


def make(settings: Settings, context: Context) -> Output:
    return Bulk(settings, context.log)
