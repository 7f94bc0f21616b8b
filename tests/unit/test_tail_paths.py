"""Names of log files: patterns, tags, links, siblings."""

from __future__ import annotations

import pytest

from collector.config.onigmo import compile_onigmo
from collector.inputs.tail_paths import (
    UNKNOWN_CONTAINER_ID,
    KubeletRoots,
    compile_path,
    is_below,
    is_rotated,
    log_of,
    rotated_siblings,
    select,
    tag_of,
)

UID = "0c2f9b9e-6d0e-4a2b-9f4c-1d2e3f405162"


@pytest.mark.parametrize(
    ("pattern", "path", "expected"),
    [
        ("/var/log/containers/*.log", "/var/log/containers/a_b_c-1.log", True),
        ("/var/log/containers/*.log", "/var/log/containers/.hidden.log", False),
        ("/var/log/containers/*.log", "/var/log/containers/a/b.log", False),
        ("/var/log/containers/*.log", "/var/log/containers/a.log.1", False),
        ("/var/log/*/a-?.log", "/var/log/x/a-1.log", True),
        ("/var/log/*/a-?.log", "/var/log/x/a-12.log", False),
        ("/var/log/[ab]/x.log", "/var/log/b/x.log", True),
        ("/var/log/[ab]/x.log", "/var/log/c/x.log", False),
        ("/var/log/audit.log", "/var/log/audit.log", True),
        ("/var/log/audit.log", "/var/log/auditxlog", False),
        ("/*.log", "/a.log", True),
        ("/var/log/*.log", "/var/log/new\nline.log", True),
    ],
)
def test_a_pattern_matches_as_glob_does(pattern: str, path: str, expected: bool) -> None:
    assert compile_path(pattern).matches(path) is expected


def test_the_fixed_part_ends_before_the_first_wildcard() -> None:
    assert compile_path("/var/log/pods/*/*/*.log").fixed == "/var/log/pods"
    assert compile_path("/var/log/audit.log").fixed == "/var/log"
    assert compile_path("/a.log").fixed == "/"


def test_exclusion_crosses_directories() -> None:
    selection = select(["/var/log/*/x.log"], ["*secret*", "/var/log/b/*"])
    assert selection.wants("/var/log/a/x.log")
    assert not selection.wants("/var/log/secret/x.log")
    assert not selection.wants("/var/log/b/x.log")
    assert not selection.wants("/var/log/a/y.log")


@pytest.mark.parametrize(
    ("tag", "path", "expected"),
    [
        ("kube.*", "/var/log/containers/a_b_c-1.log", "kube.var.log.containers.a_b_c-1.log"),
        ("audit.*", "/var/log/kubernetes/audit/audit.log", "audit.var.log.kubernetes.audit.audit.log"),
        ("*", "/var/log/a.log", "var.log.a.log"),
        ("plain", "/var/log/a.log", "plain"),
        ("x.*.y", "/a:b\\c", "x.a.b.c.y"),
        ("x.*.*", "/a..b", "x.a.b"),
    ],
)
def test_tags_are_composed_as_by_fluent_bit(tag: str, path: str, expected: str) -> None:
    assert tag_of(tag, path) == expected


@pytest.mark.parametrize(
    ("tag", "path", "expected"),
    [
        ("kube.<ns>.<pod>", "/var/log/containers/web-0_shop_nginx-1.log", "kube.shop.web-0"),
        ("kube.<ns>.<none>.*", "/var/log/containers/a_b_c.log", "kube.b._.var.log.containers.a_b_c.log"),
        ("kube.<ns>", "/var/log/other.log", "kube._"),
        # What a path is made of can neither add levels beyond its own nor stand for the path.
        ("kube.<ns>.x", "/var/log/containers/a_b:..*.c_d.log", "kube.b.c.x"),
        ("kube.<pod>", "/var/log/containers/<ns>_b_c.log", "kube.<ns>"),
    ],
)
def test_tags_with_fields_of_the_path(tag: str, path: str, expected: str) -> None:
    pattern = compile_onigmo(r"containers/(?<pod>[^_]+)_(?<ns>[^_]+)_")
    assert tag_of(tag, path, pattern) == expected


def test_pods_are_looked_at_only_for_links() -> None:
    roots = KubeletRoots()
    assert roots.pods_pattern(select(["/var/log/containers/*.log"], [])) is not None
    assert roots.pods_pattern(select(["/var/log/pods/*/*/*.log"], [])) is None


def test_the_link_is_named_as_by_the_kubelet() -> None:
    roots = KubeletRoots()
    name = roots.log_name(f"/var/log/pods/shop_web-0_{UID}/nginx/3.log")
    assert name is not None
    assert roots.link_path(name, "ab" * 32) == f"/var/log/containers/web-0_shop_nginx-{'ab' * 32}.log"
    long_name = roots.log_name(f"/var/log/pods/shop_{'w' * 250}_{UID}/nginx/0.log")
    assert long_name is not None
    assert len(roots.link_path(long_name, UNKNOWN_CONTAINER_ID).rsplit("/", 1)[1]) == 255


def test_rotated_siblings_are_those_of_this_name_only() -> None:
    names = [
        "0.log", "0.log.20260101-101500", "0.log.20260101-101500.gz", "0.log.20260101-101500.tmp",
        "0.log.1", "10.log.1", "0.log-20260101", "0.log.old", "0.logx",
    ]  # fmt: skip
    assert set(rotated_siblings("0.log", sorted(names))) == {
        "0.log.20260101-101500", "0.log.1", "0.log-20260101",
    }  # fmt: skip


def test_rotated_siblings_of_an_audit_log() -> None:
    """lumberjack, which the API server has: a time before the ending."""
    names = [
        "audit-2026-11-24T00-14-32.123.log.gz", "audit-2026-11-24T00-14-33.000.log",
        "audit-2026-11-24T00-14-33.000.log.gz", "audit-2026-11-24T00-14-32.123.txt", "audit-1.log",
        "audit-2026-11-24T00-14-34.000.log", "audit.log", "audit-x-2026-11-24T00-14-34.000.log",
    ]  # fmt: skip
    assert rotated_siblings("audit.log", sorted(names)) == [
        "audit-2026-11-24T00-14-32.123.log.gz", "audit-2026-11-24T00-14-33.000.log",
        "audit-2026-11-24T00-14-34.000.log",
    ]  # fmt: skip
    assert is_rotated("audit", "audit-2026-11-24T00-14-34.000")
    assert not is_rotated("audit.log", "audit.log")


def test_rotated_siblings_come_oldest_first() -> None:
    numbers = [f"a.log.{number}" for number in (10, 9, 2, 1)]
    assert rotated_siblings("a.log", sorted(numbers)) == numbers
    times = [f"a.log.2026010{day}-000000" for day in (1, 2, 3)]
    assert rotated_siblings("a.log", times) == times
    hours = ["a.log.2026-01-01_09", "a.log.2026-01-01_10", "a.log.2026-01-02_00-30-15"]
    days = ["a.log.2026-01-03", "a.log.2026-01-04.gz"]
    assert rotated_siblings("a.log", [*hours, *days, "a.log.2026-01", "a.log.2026-01-01.old"]) == hours + days


class Name(str):
    """Counts what it is compared with."""

    compared = 0
    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        Name.compared += 1
        return str.__eq__(self, other)


def test_a_million_compressed_generations_are_not_compared_with_one_another() -> None:
    """Who can write to a log's directory makes as many as he likes, and the loop waits for the list."""
    names = [Name(f"a.log-20260101-{number:04}.gz") for number in range(2000)]
    Name.compared = 0
    assert len(rotated_siblings("a.log", names)) == len(names)
    assert Name.compared <= 10 * len(names)


def test_below_means_inside() -> None:
    assert is_below("/var/log/a", ("/var/log",))
    assert not is_below("/var/logs/a", ("/var/log",))
    assert not is_below("/var/log", ("/var/log",))
    assert is_below("/a", ("/",))


@pytest.mark.parametrize(
    ("path", "log"),
    [
        ("/l/a.log", "/l/a.log"),
        ("/l/a.log.2026-01-02", "/l/a.log"),
        ("/l/a.log-2026-01-02.gz", "/l/a.log"),
        ("/l/a.log.2026-01-02_13-00", "/l/a.log"),
        ("/l/a.log.gz", "/l/a.log"),
        ("/l/a.log.12", "/l/a.log"),
        ("/l/a.log.1.gz", "/l/a.log"),
        ("/l/a.log-20260101", "/l/a.log"),
        ("/l/0.log.20260101-000000.gz", "/l/0.log"),
        ("/l/a.log.12345", "/l/a.log.12345"),
        ("/l/audit-2026-11-24T00-14-32.123.log.gz", "/l/audit.log"),
    ],
)
def test_the_log_that_a_rotated_file_is_of(path: str, log: str) -> None:
    assert log_of(path) == log
