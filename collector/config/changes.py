"""What differs between the configuration that runs and another one, and what only a restart could change."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from collector.config.document import Document, PluginConfig
from collector.config.schema import keys_of
from collector.config.service import ServiceSettings

# Fields of [SERVICE] that are looked at whenever they are needed.
LIVE = frozenset(
    {
        "flush_s",
        "grace_s",
        "log_level",
        "hot_reload",
        "hc_errors_count",
        "hc_retry_failure_count",
        "hc_period_s",
        "retry_base_s",
        "retry_cap_s",
        "parsers_files",
        "storage_type",  # of inputs, which show that they are others
        "storage_inherit",
    }
)


@dataclass(frozen=True, slots=True)
class Turnover:
    """Of the plugins of one kind: names that end, and plugins that begin, each in their order."""

    ended: tuple[str, ...]
    begun: tuple[PluginConfig, ...]


def same(one: PluginConfig, other: PluginConfig) -> bool:
    """Whether they do the same under the same name, wherever they stand."""
    return _meaning(one) == _meaning(other)


def _meaning(one: PluginConfig) -> tuple[object, ...]:
    return (one.plugin, one.name, one.settings, one.common, tuple(map(_meaning, one.processors)))


def turnover(
    before: Sequence[PluginConfig], after: Sequence[PluginConfig], *, parsers_changed: bool = False
) -> Turnover:
    """A plugin goes on when it is the same; one that uses a parser does not when the parsers are others."""
    kept = {
        old.name
        for old in before
        for new in after
        if same(old, new) and not (parsers_changed and uses_parser(old))
    }
    ended = tuple(old.name for old in before if old.name not in kept)
    return Turnover(ended, tuple(new for new in after if new.name not in kept))


def uses_parser(config: PluginConfig) -> bool:
    """Whether any key of it, or of its processors, that is set names a parser."""
    fields = dataclasses.fields(config.settings)
    return any(map(uses_parser, config.processors)) or any(
        "parser" in field.name and getattr(config.settings, field.name) for field in fields
    )


def obstacles(before: Document, after: Document) -> Iterator[str]:
    """What only a restart could change, one sentence each."""
    names = {
        field.name: key.name
        for field, key in zip(dataclasses.fields(ServiceSettings), keys_of(ServiceSettings), strict=True)
    }
    for field, name in names.items():
        if field not in LIVE and getattr(before.service, field) != getattr(after.service, field):
            yield f"{name} is another one: that takes a restart."
    # Where there was no input ebpf, a new one is refused for another reason.
    before_cache, after_cache = _probe_cache(before), _probe_cache(after)
    if before_cache is not None and after_cache not in (None, before_cache):
        yield "Probe_Cache is another one: the process that loads the probes was started with the old one."


def _probe_cache(document: Document) -> str | None:
    """None: there is no input ebpf."""
    found = (str(one.settings.probe_cache) for one in document.inputs if one.plugin == "ebpf")
    return next(found, None)
