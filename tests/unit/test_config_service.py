"""The [SERVICE] section: defaults as in Fluent Bit, and what can't be."""

from __future__ import annotations

import pytest

from collector.config.schema import InvalidConfiguration, load
from collector.config.sections import Entry, Section
from collector.config.service import ServiceSettings


def read(**entries: str) -> ServiceSettings:
    given = tuple(Entry(key.replace("__", "."), value, "a.conf", 2) for key, value in entries.items())
    return load(ServiceSettings, Section("SERVICE", "a.conf", 1, given))


def test_defaults_are_those_of_fluent_bit() -> None:
    service = read()
    assert (service.flush_s, service.grace_s, service.log_level) == (1.0, 5.0, "info")
    assert (service.http_server, service.http_listen, service.http_port) == (False, "0.0.0.0", 2020)
    assert (service.hc_errors_count, service.hc_retry_failure_count, service.hc_period_s) == (5, 5, 60.0)
    assert (service.retry_base_s, service.retry_cap_s) == (5.0, 2000.0)


def test_that_of_the_brief() -> None:
    service = read(Daemon="Off", Flush="0.2", HTTP_Server="On", HTTP_Port="2021", Health_Check="on")
    assert (service.flush_s, service.http_server, service.http_port, service.health_check) == (
        0.2,
        True,
        2021,
        True,
    )


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("Daemon", "On", "stays in the foreground"),
        ("Flush", "0", "Flush must be more than 0"),
        ("HTTP_Port", "65536", "a whole number from 0 to 65535"),
        ("scheduler__base", "3000", "must not be larger than scheduler.cap"),
        ("HC_Errors_Count", "-1", "0 or more"),
    ],
)
def test_what_can_not_be(key: str, value: str, reason: str) -> None:
    with pytest.raises(InvalidConfiguration, match=reason):
        read(**{key: value})
