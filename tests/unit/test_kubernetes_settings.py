"""Keys of the filter kubernetes: what Fluent Bit takes is taken, what can't work is refused."""

from __future__ import annotations

import pytest

from collector.config.schema import InvalidConfiguration, load
from collector.config.sections import Entry, Section
from collector.filters.kubernetes_settings import Settings


def settings(**written: str) -> Settings:
    entries = tuple(
        Entry(name, value, "a.conf", line) for line, (name, value) in enumerate(written.items(), 2)
    )
    return load(Settings, Section("FILTER", "a.conf", 1, entries))


def test_defaults_are_fluent_bits() -> None:
    one = settings()
    assert (one.merge_log, one.keep_log, one.merge_log_trim, one.labels, one.annotations) == (
        False, True, True, True, True,
    )  # fmt: skip
    assert (one.kube_token_ttl_s, one.kube_meta_namespace_cache_ttl_s, one.kubelet_port) == (
        600.0,
        900.0,
        10250,
    )
    assert one.compat == "strict"
    assert not one.wants_namespace
    assert settings(Namespace_Labels="On").wants_namespace


@pytest.mark.parametrize("url", ["kubernetes.default.svc", "ftp://x", "https://x:y"])
def test_url_that_is_none(url: str) -> None:
    with pytest.raises(InvalidConfiguration, match=r"Kube_URL .* expected https://host:port"):
        settings(Kube_URL=url)


def test_compat_is_one_of_two() -> None:
    with pytest.raises(InvalidConfiguration, match="strict"):
        settings(Compat="loose")
