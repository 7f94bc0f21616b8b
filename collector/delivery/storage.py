"""What the `storage.` keys of [SERVICE] ask for, opened: the spool and the folder of rejected chunks."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from collector.config.service import ServiceSettings
from collector.delivery.rejected import RejectedFolder
from collector.delivery.spool import Spool
from collector.delivery.spooling import Bounds
from collector.service.metrics import Metrics


@dataclass(frozen=True, slots=True)
class Storage:
    """Both are None where there is no storage.path."""

    spool: Spool | None
    rejected: RejectedFolder | None
    bounds: Bounds


def open_storage(service: ServiceSettings, *, metrics: Metrics, log: logging.Logger) -> Storage:
    """Raises SpoolUnusable."""
    bounds = Bounds(service.storage_backlog_bytes, service.storage_max_chunks_up)
    if not service.storage_path:
        return Storage(None, None, bounds)
    folder = Path(service.storage_path).absolute()
    spool = Spool(
        folder, log=log, full_sync=service.storage_sync == "full", checksum=service.storage_checksum
    )
    rejected = None
    if service.storage_keep_rejected:
        place = folder / service.storage_rejected_path
        rejected = RejectedFolder(place, service.storage_rejected_bytes, metrics=metrics, log=log)
    return Storage(spool, rejected, bounds)
