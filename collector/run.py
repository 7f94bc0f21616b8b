"""The daemon: opens the rooms, runs them in one TaskGroup, closes them in order."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import resource
import signal
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, get_args

from collector import own_log, plugins
from collector.config.document import Document
from collector.cri.places import AUTO, LOOK_AGAIN_S, OFF, socket_path
from collector.delivery.router import Statistics
from collector.errors import OperatorError
from collector.identity.node import node_id, node_name
from collector.identity.table import IdentityTable
from collector.native.logs import ARENA, forget_unused_plans
from collector.pipeline import Pipeline, Rooms
from collector.privilege import narrow, situation_of, wanted
from collector.reload import Reload
from collector.service.health import Health
from collector.service.metrics import Metrics
from collector.service.table import TABLE
from collector.summary import summary
from probes.launch import loader_command, witness_command
from probes.starter import Starter

if TYPE_CHECKING:
    from collector.service.endpoints import Endpoints

log = logging.getLogger("podwitness")

# Beyond Grace: the time in which inputs hand over what they hold, once told to stop. A portion of a log whose
# records are joined takes a second on a busy machine, and is waited for before deleted files are handed over.
HANDOVER_S = 3.0

# So long a load has paused when its memory is given back.
REST_LOOK_S = 2.0

# The lowest of the real-time ones.
LOOKOUT_PRIORITY = 1


def run(document: Document, read: Callable[[], Document]) -> int:
    """Runs until a signal; the exit code. Operator errors are said in a line each, without a traceback.

    `read` reads the configuration anew, for a reload.
    """
    own_log.configure(document.service.log_level, document.service.log_file)
    for notice in document.notices:
        log.info("%s", notice)
    raise_limits()
    # Until it can be answered it must not end the process.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    starter = give_up_privileges(document)
    failed: list[BaseException] = []
    try:
        asyncio.run(collect(document, starter, read))
    except* OperatorError as errors:
        failed = _leaves(errors)
    for error in failed:
        log.error("%s", error)
    return 1 if failed else 0


def _leaves(group: BaseExceptionGroup[Any]) -> list[BaseException]:
    found: list[BaseException] = []
    for error in group.exceptions:
        found += _leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found


def raise_limits() -> None:
    """Every followed file holds a descriptor until its end, also after it was unlinked.

    The thread that opens log files before they are gone again goes before ordinary work (ext/lookout.c).
    The limit allows that to a process that has given up SYS_NICE; it is raised where there still is
    SYS_RESOURCE, and without it the thread is an ordinary one.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    soft, hard = resource.getrlimit(resource.RLIMIT_RTPRIO)
    if soft == 0:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_RTPRIO, (LOOKOUT_PRIORITY, hard or LOOKOUT_PRIORITY))


def give_up_privileges(document: Document) -> Starter | None:
    """What starts the loader of the probes from now on, if there are any. Only while there is one thread."""
    situation = situation_of(document)
    starter = None
    if situation.has_probes:
        keep = wanted("starter", situation)
        starter = Starter.fork(
            loader_command(probe_cache(document)), lambda: narrow(keep, for_children=True), witness_command()
        )
    try:
        kept = narrow(wanted("collector", situation)).permitted
    except OSError as error:
        log.warning("capabilities can't be given up: %s", error.strerror)
    else:
        log.info("capabilities kept: %s", ", ".join(sorted(kept)) or "none")
    return starter


def probe_cache(document: Document) -> str:
    """Folder of compiled probes; "" for none."""
    return next((one.settings.probe_cache for one in document.inputs if one.plugin == "ebpf"), "")


async def collect(document: Document, starter: Starter | None, read: Callable[[], Document]) -> None:
    """Opens the rooms, works until a signal, closes them. Raises OperatorError."""
    started_s = time.monotonic()
    stop = stop_on_signals()
    rooms = open_rooms(document, starter)
    pipeline = Pipeline(rooms)
    async with asyncio.TaskGroup() as tasks:
        reload = Reload(rooms, pipeline, tasks, read)
        reload.on_signal(signal.SIGHUP)
        endpoints = await start_endpoints(rooms, pipeline, reload, started_s)
        log.info("podwitness runs on %s: %s", rooms.identities.node, describe(document))
        router = tasks.create_task(pipeline.router.run(), name="router")
        commits = tasks.create_task(pipeline.stores.run(), name="positions")
        expiry = tasks.create_task(expire_identities(rooms.identities), name="identities")
        runtime = tasks.create_task(ask_runtime(rooms), name="cri")
        rest = tasks.create_task(rest_between_loads(), name="rest")
        pipeline.begin(tasks)
        # What start-up made lives as long as the process; frozen, it is never walked again by
        # the garbage collector.
        gc.freeze()
        await stop.wait()
        await reload.close()
        # Inputs first, so that nothing new comes; then what they handed over is
        # delivered; only then positions, so that they cover what was delivered.
        await pipeline.end_inputs(HANDOVER_S)
        say_left_over(await pipeline.router.drain(rooms.document.service.grace_s))
        await router
        pipeline.cancel()
        for task in (commits, expiry, runtime, rest):
            task.cancel()
    pipeline.stores.close()
    # The HTTP service ends last, so that it can be asked until then.
    if endpoints is not None:
        await endpoints.close()
    if any(output.plugin == "terminal" for output in rooms.document.outputs):
        print(summary(rooms.metrics, time.monotonic() - started_s), file=sys.stderr)


def stop_on_signals() -> asyncio.Event:
    """Set by the first SIGTERM or SIGINT; the second ends the process at once."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def on_signal(number: signal.Signals) -> None:
        if stop.is_set():
            os._exit(128 + number)
        log.info("%s: stopping", number.name)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal, number)
    return stop


def open_rooms(document: Document, starter: Starter | None) -> Rooms:
    root = document.service.host_root
    identities = IdentityTable.open(node_name(), root)
    identities.scan()
    health = Health(document.service)
    return Rooms(document, Metrics(TABLE), health, identities, node_id(identities.node, root), starter)


async def start_endpoints(
    rooms: Rooms, pipeline: Pipeline, reload: Reload, started_s: float
) -> Endpoints | None:
    """Raises PortUnavailable."""
    service = rooms.document.service
    if not service.http_server:
        return None
    # Some MiB of modules that a node without the service does not need.
    from collector.service.endpoints import Endpoints
    from collector.version import version

    endpoints = Endpoints(
        version=version(),
        metrics=rooms.metrics,
        health=rooms.health,
        health_check=service.health_check,
        started_s=started_s,
        node=rooms.identities.node,
        work=pipeline,
        stall_timeout_s=lambda: rooms.document.service.stall_timeout_s,
        storage_metrics=service.storage_metrics,
        reload=reload,
        plugins={f"{kind}s": plugins.names(kind) for kind in get_args(plugins.PluginKind)},
    )
    await endpoints.start(service.http_listen, service.http_port)
    return endpoints


async def expire_identities(identities: IdentityTable) -> None:
    while True:
        await asyncio.sleep(1.0)
        identities.expire(time.clock_gettime_ns(time.CLOCK_BOOTTIME))


async def rest_between_loads() -> None:
    """What a load took of memory, the start being the first, goes back to the kernel when it is over."""
    portions = ARENA.portions
    while True:
        await asyncio.sleep(REST_LOOK_S)
        forget_unused_plans()
        before, portions = portions, ARENA.portions
        if portions == before:
            ARENA.rest()


async def ask_runtime(rooms: Rooms) -> None:
    """Ends at once where the runtime is not to be asked."""
    service = rooms.document.service
    asked = service.cri_socket.lower()
    if asked == OFF:
        return
    while asked == AUTO and socket_path(asked, service.host_root) is None:  # noqa: ASYNC110 - nobody tells
        await asyncio.sleep(LOOK_AGAIN_S)
    # Nearly a MiB of modules that a node without the socket does not need.
    from collector.cri.runtime import Runtime

    runtime = Runtime(
        service.cri_socket,
        service.host_root,
        metrics=rooms.metrics,
        report=rooms.health.report,
        learned=rooms.identities.runtime_learned,
    )
    rooms.identities.runtime = runtime
    await runtime.run()


def describe(document: Document) -> str:
    """`tail.0, ebpf.0 > kubernetes.0 > forward.0`"""
    rooms = (document.inputs, document.filters, document.outputs)
    return " > ".join(", ".join(config.name for config in room) for room in rooms if room)


def say_left_over(left: Statistics) -> None:
    if left.chunks:
        log.warning(
            "%d chunks (%d bytes) were not delivered: files are read again at the next start",
            left.chunks,
            left.size_bytes,
        )
