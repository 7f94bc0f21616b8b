"""What podwitness answers over HTTP: Fluent Bit's paths and shapes, /metrics, /livez and /readyz.

Sources: Fluent Bit's docs administration/monitoring, and src/http_server/api.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Protocol

from collector import own_log
from collector.service import stalls
from collector.service.exposition import (
    CONTENT_TYPE,
    Stored,
    cmetrics_text,
    fluent_bit_json,
    prometheus_text,
    storage_json,
)
from collector.service.health import Health, Status
from collector.service.http import Request, Response, Server, plain
from collector.service.metrics import Metrics


class Outcome(Protocol):
    """Of a reload; no problems: it is done."""

    @property
    def problems(self) -> tuple[str, ...]: ...


class Reload(Protocol):
    """What reads the configuration anew."""

    count: int

    @property
    def is_offered(self) -> bool: ...

    def ask(self) -> Awaitable[Outcome]: ...


class Work(Protocol):
    """What inputs, filters and outputs do together."""

    @property
    def phase(self) -> str: ...

    def stalls(self, now_s: float) -> Iterable[stalls.Stall]: ...

    def census(self) -> Stored: ...

    def set_gauges(self) -> None: ...


class Endpoints:
    """The HTTP service. `node` is the label `hostname` of Fluent Bit's metrics; `started_s` is monotonic.

    `stall_timeout_s` is asked for each time, since a reload may change it.
    """

    def __init__(
        self,
        *,
        metrics: Metrics,
        health: Health,
        health_check: bool,
        started_s: float,
        version: str,
        node: str,
        reload: Reload,
        plugins: Mapping[str, Sequence[str]],
        work: Work,
        stall_timeout_s: Callable[[], float],
        storage_metrics: bool = True,
    ) -> None:
        self._metrics = metrics
        self._health = health
        self._started_s = started_s
        self._version = version
        self._node = node
        self._work = work
        self._stall_timeout_s = stall_timeout_s
        self._reload = reload
        self._plugins = plugins
        self._server = Server(self._answer)
        self._sampling: asyncio.Task[None] | None = None
        self._paths: dict[str, Callable[[], Response]] = {
            "/": self._about,
            "/api/v1/uptime": self._uptime,
            "/api/v1/plugins": self._plugins_json,
            "/api/v1/metrics": self._metrics_json,
            "/api/v1/metrics/prometheus": self._metrics_with_times,
            "/api/v2/metrics": self._metrics_lines,
            "/api/v2/metrics/prometheus": self._metrics_text,
            "/api/v2/health": self._health_json,
            "/api/v2/reload": self._reload_count,
            "/metrics": self._metrics_text,
            "/livez": self._livez,
            "/readyz": self._readyz,
        }
        if storage_metrics:
            self._paths["/api/v1/storage"] = self._storage_json
        if health_check:
            self._paths["/api/v1/health"] = self._health_text

    async def start(self, listen: str, port: int) -> int:
        """Begins to answer; returns the port. Raises PortUnavailable."""
        bound = await self._server.start(listen, port)
        self._sampling = asyncio.create_task(self._sample_health(), name="sample health")
        return bound

    async def close(self) -> None:
        if self._sampling is not None:
            self._sampling.cancel()
        await self._server.close()

    async def _sample_health(self) -> None:
        while True:
            self._health.observe(time.monotonic(), *self._output_failures())
            await asyncio.sleep(self._health.sample_every_s)

    async def _answer(self, request: Request) -> Response | None:
        path = request.path.rstrip("/") or "/"
        page = self._paths.get(path)
        if page is None or request.is_question:
            return page() if page else None
        if path == "/api/v2/reload":
            return await self._reload_now()
        return plain(HTTPStatus.METHOD_NOT_ALLOWED)

    def _reload_count(self) -> Response:
        return _json({"hot_reload_count": self._reload.count})

    async def _reload_now(self) -> Response:
        """Fluent Bit's words and numbers; it answers before it has read the configuration, we do after."""
        if not self._reload.is_offered:
            return _json({"reload": "not enabled", "status": -1}, HTTPStatus.BAD_REQUEST)
        outcome = await self._reload.ask()
        if outcome.problems:
            refused = {"reload": "failed", "status": -1, "problems": outcome.problems}
            return _json(refused, HTTPStatus.BAD_REQUEST)
        return _json({"reload": "done", "status": 0})

    def _plugins_json(self) -> Response:
        return _json({"plugins": self._plugins})

    def _about(self) -> Response:
        about = {"version": self._version, "edition": "podwitness", "flags": []}
        return _json({"fluent-bit": about})

    def _uptime(self) -> Response:
        uptime_s = int(time.monotonic() - self._started_s)
        return _json({"uptime_sec": uptime_s, "uptime_hr": uptime_sentence(uptime_s)})

    def _metrics_json(self) -> Response:
        return _json(fluent_bit_json(self._metrics))

    def _metrics_with_times(self) -> Response:
        self._set_gauges()
        return Response(prometheus_text(self._metrics, time.time_ns() // 1_000_000), CONTENT_TYPE)

    def _metrics_text(self) -> Response:
        self._set_gauges()
        return Response(prometheus_text(self._metrics), CONTENT_TYPE)

    def _metrics_lines(self) -> Response:
        self._set_gauges()
        return Response(cmetrics_text(self._metrics, time.time_ns()), "text/plain")

    def _storage_json(self) -> Response:
        return _json(storage_json(self._work.census()))

    def _set_gauges(self) -> None:
        uptime_s = time.monotonic() - self._started_s
        started_at_s = int(time.time() - uptime_s)
        self._metrics.set("fluentbit_uptime", self._node, to=int(uptime_s))
        self._metrics.set("process_start_time_seconds", to=started_at_s)
        self._metrics.set("fluentbit_process_start_time_seconds", self._node, to=started_at_s)
        build = (self._node, self._version, "linux", "podwitness")
        self._metrics.set("fluentbit_build_info", *build, to=started_at_s)
        self._metrics.set("fluentbit_hot_reloaded_times", self._node, to=self._reload.count)
        for level, lines in own_log.lines().items():
            self._metrics.set("fluentbit_logger_logs_total", level, to=lines)
        self._work.set_gauges()

    def _livez(self) -> Response:
        """Whether a restart could mend what does not go on."""
        found = self._work.stalls(time.monotonic())
        return _verdict(stalls.dead(found, self._stall_timeout_s()))

    def _readyz(self) -> Response:
        """Whether everything is seen and delivered."""
        phase, status = self._work.phase, self._status()
        reasons = [phase] if phase != "running" else []
        if not status.is_within_limits:
            reasons.append(f"outputs: {status.errors} errors and {status.retries_failed} given up deliveries")
        reasons += [f"{name}: {part.reason}" for name, part in status.components.items() if not part.ok]
        found = self._work.stalls(time.monotonic())
        return _verdict((*reasons, *stalls.unready(found, self._stall_timeout_s())))

    def _health_text(self) -> Response:
        ok = self._status().ok
        return Response("ok\n" if ok else "error\n", "text/plain", 200 if ok else 500)

    def _health_json(self) -> Response:
        status = self._status()
        components = {
            name: {"ok": component.ok, "reason": component.reason}
            for name, component in status.components.items()
        }
        content = {
            "status": "ok" if status.ok else "error",
            "errors": status.errors,
            "retries_failed": status.retries_failed,
            "error_limit": self._health.errors_limit,
            "retry_failure_limit": self._health.retries_failed_limit,
            "period_limit": int(self._health.period_s),
            "components": components,
        }
        return _json(content, 200 if status.ok else 500)

    def _status(self) -> Status:
        return self._health.status(time.monotonic(), *self._output_failures())

    def _output_failures(self) -> tuple[int, int]:
        return (
            int(self._metrics.total("fluentbit_output_errors_total")),
            int(self._metrics.total("fluentbit_output_retries_failed_total")),
        )


def _verdict(reasons: Iterable[str]) -> Response:
    lines = "\n".join(reasons)
    status = HTTPStatus.SERVICE_UNAVAILABLE if lines else HTTPStatus.OK
    return Response(f"{lines or 'ok'}\n", "text/plain", status)


def _json(content: object, status: int = 200) -> Response:
    return Response(json.dumps(content), status=status)


def uptime_sentence(uptime_s: int) -> str:
    """Fluent Bit's sentence, letter for letter (src/http_server/api/v1/uptime.c): plural only from 2 on."""
    minutes, seconds = divmod(uptime_s, 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = [
        f"{count} {unit}{'s' if count > 1 else ''}"
        for count, unit in ((days, "day"), (hours, "hour"), (minutes, "minute"), (seconds, "second"))
    ]
    return f"Fluent Bit has been running:  {', '.join(parts[:3])} and {parts[3]}"
