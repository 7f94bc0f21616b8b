"""Keys of Fluent Bit against those that plugins declare: ours, without effect, or refused with a remedy."""

from __future__ import annotations

import pytest

from collector.config.foreign import (
    FLUENT_BIT,
    FLUENT_BIT_COMMON,
    IGNORED,
    INSTEAD,
    OTHERS,
    REFUSED,
    ignored,
    instead,
    remedy,
    unsupported,
)
from collector.config.instances import FilterCommon, InputCommon, OutputCommon
from collector.config.schema import InvalidConfiguration, keys_of, load
from collector.config.sections import Entry, Section
from collector.config.service import ServiceSettings
from collector.plugins import PLUGINS

COMMON: dict[str, type] = {"input": InputCommon, "filter": FilterCommon, "output": OutputCommon}
ROWS = [(row.kind, row.name) for row in PLUGINS]

# Plugins that Fluent Bit has not.
OURS = {("input", "ebpf"), ("output", "terminal")}
# Keys that Fluent Bit has not, beside those plugins'.
HTTP_CLIENT = {"http.response_timeout", "log_response_payload", "proxy"}
OUR_KEYS = {
    ("service", ""): {"cri_socket", "host_root", "stall_timeout"},
    ("input", "tail"): {"deleted_limit"},
    ("filter", "kubernetes"): {"compat"},
    ("output", "es"): HTTP_CLIENT,
    ("output", "opensearch"): HTTP_CLIENT,
    ("output", "loki"): HTTP_CLIENT,
    ("output", "opentelemetry"): {"http.response_timeout"},
}


def declared(kind: str, plugin: str) -> set[str]:
    """In lower case, without those that all plugins of the kind have."""
    if kind == "service":
        return {name.lower() for key in keys_of(ServiceSettings) for name in key.names}
    (row,) = (row for row in PLUGINS if (row.kind, row.name) == (kind, plugin))
    return {name.lower() for key in keys_of(row.load().Settings) for name in key.names}


def common(kind: str) -> set[str]:
    return {key.name.lower() for key in keys_of(COMMON[kind])} if kind in COMMON else set()


@pytest.mark.parametrize(("kind", "plugin"), [("service", ""), *ROWS], ids=str)
def test_every_key_of_fluent_bit_has_one_answer(kind: str, plugin: str) -> None:
    ours = declared(kind, plugin) | common(kind)
    for name in unsupported(kind, plugin):
        is_ours, is_ignored = name in ours, name in ignored(kind, plugin)
        assert not (is_ours and is_ignored), name
        assert is_ours or is_ignored or remedy(kind, plugin, name), name


@pytest.mark.parametrize(("kind", "plugin"), [("service", ""), *ROWS], ids=str)
def test_keys_that_fluent_bit_has_not_are_known(kind: str, plugin: str) -> None:
    if (kind, plugin) in OURS:
        assert (kind, plugin) not in FLUENT_BIT
    else:
        ours = declared(kind, plugin) - unsupported(kind, plugin).keys()
        assert ours == OUR_KEYS.get((kind, plugin), set()), "a key of ours alone is to be listed in OUR_KEYS"


def test_keys_of_all_plugins_of_a_kind_are_those_of_fluent_bit() -> None:
    for kind in COMMON:
        assert common(kind) <= FLUENT_BIT_COMMON[kind]


def test_no_answer_is_for_a_key_that_is_not_there() -> None:
    for where, keys in IGNORED.items():
        kind, _, plugin = where.partition(" ")
        if kind == "processor":
            continue
        named = [row for row in ({"service": [("service", "")]}.get(kind) or ROWS) if row[0] == kind]
        known = {name for row in named if plugin in ("", row[1]) for name in unsupported(*row)}
        assert keys.keys() <= known, where
    for (kind, plugin), beginnings in REFUSED.items():
        known = set(unsupported(kind, plugin)) - ignored(kind, plugin).keys()
        known -= declared(kind, plugin) if plugin or kind == "service" else set()
        for beginning in beginnings:
            assert any(name.startswith(beginning) for name in known), (kind, plugin, beginning)


@pytest.mark.parametrize(
    ("plugin", "name", "value", "advice"),
    [
        ("http", "Format", "gelf", "GELF is not written: choose json."),
        ("http", "Compress", "snappy", "Snappy is not written: choose zstd."),
        ("kafka", "Format", "GELF", "GELF is not written: choose json."),
        ("kafka", "Format", "avro", "Avro is not written: choose msgpack, or json."),
        *((plugin, "tls.min_version", "TLSv1.1", "choose TLSv1.2.") for plugin in ("forward", "http", "es")),
    ],
)
def test_a_value_that_only_fluent_bit_takes_is_refused_with_what_to_take(
    plugin: str, name: str, value: str, advice: str
) -> None:
    (row,) = (row for row in PLUGINS if (row.kind, row.name) == ("output", plugin))
    section = Section("OUTPUT", "t", 1, (Entry(name, value, "t", 2),))
    with pytest.raises(InvalidConfiguration, match=f"expected one of .*{advice}"):
        load(row.load().Settings, section)


def test_tables_name_plugins_that_exist() -> None:
    assert FLUENT_BIT.keys() | OURS == {("service", ""), *ROWS}


def test_names_are_in_lower_case() -> None:
    names = {name for row in FLUENT_BIT.values() for name in row} | {
        name for row in IGNORED.values() for name in row
    }
    assert names == {name.lower() for name in names}


def test_keys_of_the_plugin_and_of_its_kind() -> None:
    assert {"multiline", "listen"} <= unsupported("input", "tail").keys()
    assert "input does not listen" in unsupported("input", "mem")["listen"]
    assert unsupported("input", "ebpf").keys() == FLUENT_BIT_COMMON["input"]


def test_plugins_of_fluent_bit_have_a_way() -> None:
    assert instead("output", "s3").startswith("Send by the output forward to a Fluent Bit")
    assert "journal" in instead("input", "syslog")
    assert instead("input", "udp").startswith("Receive it by a Fluent Bit")
    assert instead("output", "steak") == ""
    for kind, names in OTHERS.items():
        ours = {name for own, name in ROWS if own == ("filter" if kind == "processor" else kind)}
        assert not names & ours
        assert not {(kind, name) for name in names} & INSTEAD.keys()
