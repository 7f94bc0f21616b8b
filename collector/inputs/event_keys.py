"""Kinds of values that keys of the input `ebpf` have."""

from __future__ import annotations

import os

from collector.catalog import EVENTS, TRACED, named
from collector.config.kinds import Kind as ValueKind
from collector.config.schema import choice, nearest, seconds, size_bytes

# Each with a tag of its own: flow goes with network, privilege and syscalls with process.
SUBJECTS = ("process", "network")
MAX_DNS_PORTS = 4
MAX_EXECUTABLES = 64


def _read_trace(written: str) -> tuple[str, ...]:
    words = tuple(written.lower().replace(",", " ").split())
    if not words:
        raise ValueError(f"expected some of {', '.join(TRACED)}, or of their events.")
    for word in words:
        bare = word.removeprefix("-")
        if not bare:
            raise ValueError("expected a name right behind each -, as in -fork.")
        if not named(bare):
            raise ValueError(f"{bare} is no subject and no event. {_nearest_event(bare)}")
    return words


def _nearest_event(word: str) -> str:
    """An event that another subject has is meant before one with a like name."""
    if "." not in word:
        return nearest(word, [*TRACED, *dict.fromkeys(event.action for event in EVENTS)])
    same = [event.name for event in named(word.partition(".")[2])]
    return nearest(same[0] if same else word, [event.name for event in EVENTS])


def _read_ports(written: str) -> tuple[int, ...]:
    """Nothing for `off`."""
    words = written.lower().replace(",", " ").split()
    if words == ["off"]:
        return ()
    if not 0 < len(words) <= MAX_DNS_PORTS or not all(word.isdecimal() for word in words):
        raise ValueError(f"expected up to {MAX_DNS_PORTS} port numbers, or off.")
    ports = tuple(int(word) for word in words)
    if not all(0 < port < 65536 for port in ports):
        raise ValueError("expected port numbers from 1 to 65535.")
    return ports


def _read_ring_bytes(written: str) -> int:
    """The kernel wants a power of two: sizes are rounded up to one."""
    wanted = size_bytes.read(written)
    if not 4096 <= wanted <= 1 << 30:
        raise ValueError("expected a size from 4Ki to 1Gi.")
    return int(1 << (max(wanted, os.sysconf("SC_PAGE_SIZE")) - 1).bit_length())


def _read_folder(written: str) -> str:
    """Nothing for `off`."""
    if written.lower() == "off":
        return ""
    if not os.path.isabs(written):
        raise ValueError("expected an absolute path, or off.")
    return written


def _read_variables(written: str) -> tuple[str, ...]:
    names = tuple(name for name in written.replace(",", " ").split() if name.lower() != "off")
    if any("=" in name or "\0" in name for name in names):
        raise ValueError("expected names of environment variables, without their values.")
    if patterns := [name for name in names if set(name) & set("*?[")]:
        raise ValueError(f"expected whole names of environment variables, not {patterns[0]}.")
    return names


def _read_interval_s(written: str) -> float:
    found = seconds.read(written)
    if not found:
        raise ValueError("expected more than 0, such as 30s: flows would be looked at without a pause.")
    return found


def _read_executables(written: str) -> tuple[str, ...]:
    paths = tuple(path for path in written.replace(",", " ").split() if path.lower() != "off")
    for path in paths:
        if not os.path.isabs(path) or os.path.normpath(path) != path:
            raise ValueError(f"expected absolute paths without links, not {path}.")
    if len(paths) > MAX_EXECUTABLES:
        raise ValueError(f"expected up to {MAX_EXECUTABLES} paths.")
    return paths


executables_kind = ValueKind(
    "list of paths, or off", _read_executables, show=lambda paths: " ".join(paths) or "off"
)
variables_kind = ValueKind("list of names, or off", _read_variables, show=" ".join)
interval_kind = ValueKind("time above 0", _read_interval_s, show=seconds.show)
folder_kind = ValueKind("absolute path, or off", _read_folder)
ports_kind = ValueKind("list of ports, or off", _read_ports, show=lambda ports: " ".join(map(str, ports)))
trace_kind = ValueKind(f"list of {', '.join(TRACED)}, or events", _read_trace, show=" ".join)
witness_kind = choice("auto", "ebpf", "netlink")
ring_kind = ValueKind("size, rounded up to a power of 2", _read_ring_bytes)
