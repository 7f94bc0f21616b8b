"""The systemd unit, against the DaemonSet that it stands in for."""

from __future__ import annotations

import configparser

from tests.deploy.manifests import ROOT, capabilities, container, pod


def unit() -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None, strict=True)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string((ROOT / "deploy/podwitness.service").read_text())
    return parser


def test_has_the_capabilities_of_the_daemonset() -> None:
    assert unit()["Service"]["CapabilityBoundingSet"].split() == [f"CAP_{name}" for name in capabilities()]


def test_has_the_limits_of_the_daemonset() -> None:
    assert unit()["Service"]["MemoryMax"] + "i" == container()["resources"]["limits"]["memory"]
    assert int(unit()["Service"]["TimeoutStopSec"]) == pod()["spec"]["terminationGracePeriodSeconds"]


def test_starts_what_the_image_starts() -> None:
    program = unit()["Service"]["ExecStart"].split()[0]
    assert f'"{program}"' in (ROOT / "deploy/Dockerfile").read_text()


def test_state_is_where_the_configuration_puts_it() -> None:
    state = f"/var/lib/{unit()['Service']['StateDirectory']}/"
    config = (ROOT / "deploy/kustomize/base/fluent-bit.conf").read_text()
    assert {
        line.split()[1].startswith(state) for line in config.splitlines() if line.split()[:1] == ["DB"]
    } == {True}
