"""`[OUTPUT] Name es`: Elasticsearch, as Fluent Bit's output of that name."""

from __future__ import annotations

import base64
import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

from collector.config.schema import key, text
from collector.outputs.bulk import Bulk, BulkSettings
from collector.outputs.upstream import Upstream
from collector.plugin import Output

if TYPE_CHECKING:
    from collector.context import Context

SUMMARY = "Stores records in Elasticsearch."


@dataclass(frozen=True)
class Settings(BulkSettings):
    """Keys of [OUTPUT] Name es."""

    api_key: str = key(
        "http_Api_Key", text, default="", help="API key in base64; http_User is used before it."
    )
    cloud_id: str = key(
        "Cloud_ID", text, default="", help="Elastic Cloud's id of a deployment, for Host and Port."
    )
    cloud_auth: str = key("Cloud_Auth", text, default="", help="`user:password` for Elastic Cloud.")

    upstream: str = key(
        "Upstream",
        text,
        default="",
        help="File with an [UPSTREAM] and a [NODE] for each server, or the name of an [UPSTREAM].",
    )

    def __post_init__(self) -> None:
        if self.cloud_id:
            cloud_host(self.cloud_id)
        if self.cloud_auth and ":" not in self.cloud_auth:
            raise ValueError("has a Cloud_Auth that is not user:password.")
        super().__post_init__()


def cloud_host(cloud_id: str) -> tuple[str, int]:
    """Where a deployment is: `name:base64(domain[:port]$elasticsearch$kibana)`. Raises ValueError."""
    try:
        decoded = base64.b64decode(cloud_id.rpartition(":")[2] + "==").decode("ascii")
        domain, elasticsearch, *_ = decoded.split("$")
        domain, _, port = domain.partition(":")
        elasticsearch, _, own_port = elasticsearch.partition(":")
        return f"{elasticsearch}.{domain}", int(own_port or port or 443)
    except ValueError:
        raise ValueError("has a Cloud_ID that Elastic Cloud has not made.") from None


def resolved(settings: Settings) -> Settings:
    """The settings with what Cloud_ID, Cloud_Auth and the API key stand for."""
    if settings.cloud_id:
        host, port = cloud_host(settings.cloud_id)
        settings = dataclasses.replace(settings, host=host, port=port)
    if settings.cloud_auth and not settings.user:
        user, _, password = settings.cloud_auth.partition(":")
        settings = dataclasses.replace(settings, user=user, password=password)
    if settings.api_key and not settings.user:
        headers = (*settings.headers, ("Authorization", f"ApiKey {settings.api_key}"))
        settings = dataclasses.replace(settings, headers=headers)
    return settings


def make(settings: Settings, context: Context) -> Output:
    nodes = context.plugin.nodes
    if not nodes:
        return Bulk(resolved(settings), context.log)
    return Upstream([(node, Bulk(resolved(node.settings), context.log)) for node in nodes], context.log)
