"""collector.notice_fields: each table is of its own kinds. Who makes the records compares them with it."""

from __future__ import annotations

import pytest

from collector.notice_fields import (
    CONTAINER,
    CONTAINER_FIELDS,
    LIMITED,
    LIMITED_FIELDS,
    LOSS,
    LOSS_FIELDS,
    PROBES,
    PROBES_FIELDS,
)
from collector.record_field import RecordField


@pytest.mark.parametrize(
    ("kinds", "fields"),
    [(CONTAINER, CONTAINER_FIELDS), (LIMITED, LIMITED_FIELDS), (LOSS, LOSS_FIELDS), (PROBES, PROBES_FIELDS)],
)
def test_each_field_is_there_once_and_ends_its_sentence(
    kinds: tuple[str, ...], fields: tuple[RecordField, ...]
) -> None:
    assert len({field.name for field in fields}) == len(fields)
    assert all(field.kinds == kinds and field.meaning[-1] in ".," for field in fields)
