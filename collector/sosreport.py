"""What to enclose with a question: versions, the machine, and the configuration without its secrets."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Iterator

from collector.config.document import Document, PluginConfig

# Values of such keys are not shown, whatever they are. `http_user` is half of a password.
_SECRET = re.compile(r"passw|secret|shared_key|token$|http_user|api_?key|authorization|header", re.IGNORECASE)


def report(document: Document) -> str:
    """Some dozen lines of text."""
    return "\n".join(_lines(document))


def _lines(document: Document) -> Iterator[str]:
    from collector.version import version

    yield f"podwitness {version()}"
    yield f"  Python         {platform.python_version()} ({platform.python_implementation()})"
    yield f"  kernel         {platform.system()} {platform.release()} {platform.machine()}"
    yield f"  processors     {len(os.sched_getaffinity(0))} of {os.cpu_count()}"
    yield f"  memory         {os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') >> 20} MiB"
    yield f"  user           {os.geteuid()}"
    yield f"  files          {', '.join(document.files) or 'none: the command line'}"
    for notice in document.notices:
        yield f"  notice         {notice}"
    for kind in (document.inputs, document.filters, document.outputs):
        for plugin in kind:
            yield from _plugin(plugin)
    yield "What this machine allows: podwitness doctor"


def _plugin(plugin: PluginConfig) -> Iterator[str]:
    yield f"{plugin.kind} {plugin.name} ({plugin.section.place})"
    for entry in plugin.section.entries:
        yield f"  {entry.key:<14} {'(not shown)' if _SECRET.search(entry.key) else entry.value}"
    for processor in plugin.processors:
        yield from _plugin(processor)
