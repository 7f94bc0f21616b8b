"""Attaches every probe for a moment, and lets a heartbeat go through them: the truth instead of a guess."""

from __future__ import annotations

import asyncio
import errno
import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass

from collector.inputs.event_heartbeat import Deed, Heart, Proof
from collector.inputs.event_rings import Rings
from collector.native.containers import ContainerTable
from collector.native.event_kinds import Kind
from collector.native.events import DrainEnd, EventEncoder, Tables
from probes.catalog import SUBJECTS
from probes.conntrack import open_of_the_node
from probes.launch import Attached, HookReport, ProbeError, launch
from probes.netlink_witness import open_connector
from probes.proc_connector import ConnectorUnusable

RING_BYTES = 1 << 20
CONNECTOR_BYTES = 1 << 16
# What a node does meanwhile may fill one drain, not hundreds.
MOST_DRAINS = 256


@dataclass(frozen=True, slots=True)
class Attempt:
    """What came of it. `error`: why no probe at all could be loaded."""

    hooks: tuple[HookReport, ...] = ()
    error: str = ""
    took_s: float = 0.0
    expected: frozenset[Kind] = frozenset()  # of the heartbeat
    heard: frozenset[Kind] = frozenset()
    latency_s: float = 0.0
    connector_error: str = ""  # why the proc connector can't be used
    tracking_errno: int = 0  # why connection tracking can't be listened to


def attempt() -> Attempt:
    """Takes about as long as the collector's start."""
    connector_error, tracking_errno = _connector_error(), _tracking_errno()
    began_s = time.monotonic()
    try:
        attached = asyncio.run(launch(SUBJECTS, ring_bytes=RING_BYTES))
    except (ProbeError, OSError) as error:
        return Attempt(error=str(error), connector_error=connector_error, tracking_errno=tracking_errno)
    took_s = time.monotonic() - began_s
    try:
        deed, heard = _heartbeat(attached)
        latency_s = time.monotonic() - deed.made_s
    finally:
        attached.close()
    found = (took_s, deed.kinds, heard, latency_s)
    return Attempt(attached.hooks, "", *found, connector_error, tracking_errno)


def _heartbeat(attached: Attached) -> tuple[Deed, frozenset[Kind]]:
    """What was done, and what of it came out of the rings."""
    encoder, tables = EventEncoder(0), Tables(ContainerTable(1), ContainerTable(1))
    rings = Rings.open(attached, RING_BYTES, RING_BYTES)
    heart = Heart(_kinds(attached.hooks), logging.getLogger("podwitness.doctor"))
    try:
        deed = heart.beat()
        encoder.expect(deed.expected)
        # Its pid stays its own until rest(); nobody waits for its end before that.
        while not heart.is_over():
            time.sleep(0.001)
        for ring in rings:
            drains = (encoder.drain(ring, tables, 4096).end for _ in range(MOST_DRAINS))
            while next(drains, DrainEnd.EMPTY) is not DrainEnd.EMPTY:
                pass
        return deed, encoder.heard()
    finally:
        heart.rest()
        rings.close()


def _kinds(hooks: Iterable[HookReport]) -> frozenset[Kind]:
    working = [Kind(kind) for hook in hooks if hook.is_attached for kind in hook.kinds]
    return Proof(working, 0).kinds


def _connector_error() -> str:
    try:
        open_connector(CONNECTOR_BYTES).close()
    except ConnectorUnusable as error:
        return str(error)
    except OSError as error:
        return str(error.strerror)
    return ""


def _tracking_errno() -> int:
    try:
        open_of_the_node().close()
    except OSError as error:
        return error.errno or errno.EIO
    return 0
