"""What the encoder of kernel events writes as text, in plain Python."""

from __future__ import annotations

import signal
from typing import Any

from collector._native import ffi


def text(raw: bytes) -> str:
    return raw.replace(b"\\x", b"\\x5cx").decode("utf-8", "backslashreplace")


def comm(raw: Any) -> str:
    return text(ffi.buffer(raw)[:].partition(b"\0")[0])


def entity_id(node_id: int, start_ns: int, pid: int) -> str:
    return f"{node_id:016x}-{start_ns:x}-{pid:x}"


def path(components: bytes, is_cut: bool) -> str:
    parts = components.split(b"\0")
    if parts[-1] == b"":
        parts.pop()
    joined = b"".join(b"/" + part for part in reversed(parts))
    return text((b"..." if is_cut else b"") + joined or b"/")


def signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name if number < 32 else f"SIG{number}"
    except ValueError:
        return f"SIG{number}"
