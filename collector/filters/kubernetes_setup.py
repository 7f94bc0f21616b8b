"""What the filter kubernetes is made of beside its settings: a pattern for names, and whom to ask."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING

from collector.config.onigmo import Pattern, compile_onigmo
from collector.config.parsers import Parsers, find
from collector.filters.kubernetes_names import JOURNAL, TAG
from collector.filters.kubernetes_settings import Settings
from collector.kubernetes.api import kubelet_url, read_url
from collector.kubernetes.cluster import Cluster

if TYPE_CHECKING:
    from collector.context import Context


def pattern_of(settings: Settings, parsers: Parsers) -> Callable[[], Pattern]:
    """Raises ValueError. Where pods are known by their logs it is never asked for, and RE2 not loaded for it,
    which takes 2 MiB."""
    if not settings.regex_parser:
        return cache(lambda: compile_onigmo(JOURNAL if settings.use_journal else TAG))
    parser = find(settings.regex_parser, parsers)
    if parser.pattern is None:
        raise ValueError(f"Regex_Parser {settings.regex_parser} has Format {parser.format}, expected regex.")
    pattern = parser.pattern
    return lambda: pattern


def cluster_of(settings: Settings, context: Context) -> Cluster | None:
    """Whom to ask; None where that is nobody."""
    if settings.dummy_meta or settings.use_tag_for_meta or not _is_to_ask(settings, context):
        return None
    access = settings.access(settings.kube_token_command)

    def count(request: str, result: str) -> None:
        context.metrics.add("podwitness_kubernetes_requests_total", context.name, request, result)

    kubelet = kubelet_url(settings.kubelet_host, settings.kubelet_port)
    cluster = Cluster(
        access.api(read_url(settings.kube_url), context.log),
        access.api(kubelet, context.log) if settings.use_kubelet else None,
        context.identities.pods,
        context.node,
        count=count,
        report=lambda ok, reason: context.report(context.name, ok, reason),
        namespace_ttl_s=settings.kube_meta_namespace_cache_ttl_s,
        log=context.log,
    )
    context.identities.pods.owner = cluster.lookup.owner
    cluster.lookup.told.append(context.identities.namespace_learned)
    return cluster


def _is_to_ask(settings: Settings, context: Context) -> bool:
    """Where the operator named a server, or the kubelet gave a token for one."""
    asked = ("kube_url", "use_kubelet", "kube_token_command")
    if any(entry.key.lower() in asked for entry in context.plugin.section.entries):
        return True
    if os.path.exists(settings.kube_token_file):
        return True
    if not settings.kube_meta_preload_cache_dir:
        context.log.info(
            "%s: there is no Kube_Token_File (%s) and Kube_URL is not set, so no API server is asked: pods "
            "are known by log paths, cgroups and the runtime, without annotations.",
            context.name,
            settings.kube_token_file,
        )
    return False
