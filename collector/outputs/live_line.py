"""One record as one line that a person can read. Pure: takes a record, gives its parts."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

# Control characters and the invisible ones that turn text around: a log line or an
# argv must not move the cursor, recolour the screen or hide a part of itself.
_HOSTILE = {
    **{code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0))},
    **{
        code: f"\\u{code:04x}"
        for code in (*range(0x200B, 0x2010), *range(0x2028, 0x202F), *range(0x2066, 0x206A), 0xFEFF)
    },
    ord("\n"): "\\n",
    ord("\t"): "\\t",
}


@dataclass(frozen=True, slots=True)
class LiveLine:
    """`tone` is what kind of thing happened; the terminal gives each its colour."""

    time: str
    where: str
    what: str
    who: str
    details: str
    tone: str  # process, network, trouble, log, errors


def shown(value: Any) -> str:
    """Text without anything that a terminal would obey."""
    return str(value).encode("utf-8", "backslashreplace").decode().translate(_HOSTILE)


def live_line(time_ns: int, record: Mapping[str, Any]) -> LiveLine:
    """The line of a record of any kind."""
    event = _map(record, "event")
    if event.get("action") == "loss":
        parts = ("LOST", "", _loss(record), "trouble")
    elif event.get("kind") == "pipeline_error":
        parts = ("PROBES", str(event.get("action", "")), str(event.get("reason", "")), "trouble")
    elif "network" in event.get("category", ()) and "privilege" not in _map(record, "podwitness"):
        parts = _network(event, record)
    elif event.get("category"):
        parts = _process(event, record)
    else:
        parts = _log(record)
    what, who, details, tone = parts
    return LiveLine(_clock(time_ns), shown(where(record)), shown(what), shown(who), shown(details), tone)


def where(record: Mapping[str, Any]) -> str:
    """namespace/pod/container, a container's short id, or the host."""
    kubernetes = _map(record, "kubernetes")
    if kubernetes:
        names = (kubernetes.get(name, "") for name in ("namespace_name", "pod_name", "container_name"))
        return "/".join(str(name) for name in names if name)
    container = _map(record, "container")
    if container:
        return f"container {str(container.get('id', '?'))[:12]}"
    host = _map(record, "host").get("name") or record.get("_HOSTNAME") or "host"
    return str(host)


def _map(record: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = record.get(name)
    return found if isinstance(found, Mapping) else {}


def _clock(time_ns: int) -> str:
    moment = datetime.fromtimestamp(time_ns // 1_000_000_000, UTC).astimezone()
    return f"{moment:%H:%M:%S}.{time_ns // 1_000_000 % 1000:03d}"


def _actor(process: Mapping[str, Any]) -> str:
    return f"{process.get('name', '?')}[{process.get('pid', '?')}]"


def _process(event: Mapping[str, Any], record: Mapping[str, Any]) -> tuple[str, str, str, str]:
    process = _map(record, "process")
    action = str(event.get("action", "?"))
    if action == "fork":
        details = f"from {_actor(_map(process, 'parent'))}"
    elif action == "exit":
        details = _ending(event, record)
    elif "privilege" in _map(record, "podwitness"):
        details = _privilege(_map(_map(record, "podwitness"), "privilege"))
    else:
        args = process.get("args") or [process.get("executable", "")]
        details = " ".join(shlex.quote(str(arg)) for arg in args)
    failed = event.get("outcome") == "failure"
    if failed:
        details += f"  {_map(record, 'error').get('code', 'failed')}"
    return action, _actor(process), details.strip(), "trouble" if failed else "process"


def _privilege(privilege: Mapping[str, Any]) -> str:
    """`signal SIGKILL > sleep[7]`: what it was done with, and to whom."""
    said = [f"{name} {_listed(value)}" for name, value in privilege.items() if not isinstance(value, Mapping)]
    target = _map(privilege, "target")
    return " ".join([*said, *([f"> {_actor(target)}"] if target else [])])


def _listed(value: Any) -> str:
    return "|".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _ending(event: Mapping[str, Any], record: Mapping[str, Any]) -> str:
    code = _map(record, "process").get("exit_code")
    signal = _map(_map(record, "podwitness"), "exit").get("signal")
    how = f"exit code {code}" if code is not None else f"killed by {signal}" if signal else "ended"
    return f"{how} after {_duration(event.get('duration', 0))}"


def _duration(duration_ns: Any) -> str:
    seconds = float(duration_ns or 0) / 1e9
    for unit, size in (("h", 3600.0), ("min", 60.0), ("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e6:.0f} us"


def _network(event: Mapping[str, Any], record: Mapping[str, Any]) -> tuple[str, str, str, str]:
    source, destination = _map(record, "source"), _map(record, "destination")
    action = str(event.get("action", "?"))
    asked = _map(_map(record, "dns"), "question").get("name")
    details = (
        f"{_end(source)} > {_end(destination)}" if destination and source else _end(source or destination)
    )
    if action == "close":
        sent, received = source.get("bytes", 0), destination.get("bytes", 0)
        details += f"  {sent} B > < {received} B in {_duration(event.get('duration', 0))}"
    if asked:
        details += f"  {asked}"
    failed = event.get("outcome") == "failure"
    if failed:
        details += f"  {_map(record, 'error').get('code', 'failed')}"
    return action, _actor(_map(record, "process")), details, "trouble" if failed else "network"


def _end(end: Mapping[str, Any]) -> str:
    address = str(end.get("ip", "?"))
    if ":" in address:
        address = f"[{address}]"
    return f"{address}:{end.get('port', '?')}"


def _loss(record: Mapping[str, Any]) -> str:
    loss = _map(_map(record, "podwitness"), "loss")
    return ", ".join(f"{name} {value}" for name, value in loss.items())


def _log(record: Mapping[str, Any]) -> tuple[str, str, str, str]:
    stream = str(record.get("stream", "journal" if "MESSAGE" in record else "log"))
    message = next((record[name] for name in ("log", "message", "MESSAGE", "msg") if name in record), None)
    who = str(record.get("SYSLOG_IDENTIFIER", record.get("_COMM", "")))
    if message is None:
        message = {name: value for name, value in record.items() if name not in _LOG_FRAME}
    return stream, who, str(message), "errors" if stream == "stderr" else "log"


_LOG_FRAME = {"time", "stream", "_p", "logtag", "kubernetes"}
