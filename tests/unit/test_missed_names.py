"""Of what nobody could open only that is told which the input would have followed."""

from __future__ import annotations

import fnmatch
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.inputs.missed_names import may_begin, missed_name
from collector.inputs.tail_paths import UNKNOWN_CONTAINER_ID, KubeletRoots, select

PODS, LINKS = "/var/log/pods", "/var/log/containers"
POD = f"{PODS}/default_web-1_0c2f9b9e-6d0e-4a2b-9f4c-1d2e3f405162"
LINK = f"{LINKS}/web-1_default_app-{UNKNOWN_CONTAINER_ID}.log"


def named(path: str, wanted: str, excluded: str = "/none") -> str | None:
    return missed_name(path, select([wanted], [excluded]), KubeletRoots())


@pytest.mark.parametrize("wanted", ["*.log", "web-*.log", "*_default_*.log", "web-?_*_app-*.log"])
def test_what_a_pattern_of_links_means_has_the_name_of_the_link(wanted: str) -> None:
    assert named(f"{POD}/app/0.log", f"{LINKS}/{wanted}") == LINK
    assert named(f"{POD}/app", f"{LINKS}/{wanted}") == LINK
    assert named(POD, f"{LINKS}/{wanted}") == POD


@pytest.mark.parametrize("wanted", ["db-*.log", "*_kube-system_*.log", "web-1_prod*.log"])
def test_pods_that_it_does_not_mean_are_none_of_its_losses(wanted: str) -> None:
    for path in (f"{POD}/app/0.log", f"{POD}/app", POD):
        assert named(path, f"{LINKS}/{wanted}") is None


def test_a_container_that_it_does_not_mean_may_have_been_another_in_a_pod_that_it_does() -> None:
    for path, expected in ((f"{POD}/app/0.log", None), (f"{POD}/app", None), (POD, POD)):
        assert named(path, f"{LINKS}/*_other-*.log") == expected


def test_what_is_excluded_is_no_loss() -> None:
    for path in (f"{POD}/app/0.log", f"{POD}/app", POD):
        assert named(path, f"{LINKS}/*.log", f"{LINKS}/*_default_*") is None
        for excluded in (f"{PODS}/default_*", f"{PODS}/default_*/*/*.log"):
            assert named(path, f"{PODS}/*/*/*.log", excluded) is None


def test_what_is_no_pod_of_the_kubelet_is_known_by_its_own_name() -> None:
    assert named(f"{PODS}/x/app", f"{LINKS}/*.log") is None
    for path, wanted in ((f"{POD}/app", f"{PODS}/*/*/*.log"), ("/srv/a.log", "/srv/*.log")):
        assert named(path, wanted) == path


@given(st.text("ab_*", max_size=6), st.text("ab_", max_size=4), st.text("ab", max_size=4))
def test_a_name_that_meets_a_pattern_may_have_begun_so(pattern: str, beginning: str, rest: str) -> None:
    if fnmatch.fnmatchcase(beginning + rest, pattern):
        assert may_begin(pattern, beginning)


@given(st.text("ab_*", max_size=4), st.text("ab_", max_size=3))
def test_where_none_that_begins_so_meets_it_none_is_awaited(pattern: str, beginning: str) -> None:
    rests = ("".join(rest) for size in range(5) for rest in itertools.product("ab", repeat=size))
    if may_begin(pattern, beginning):
        assert any(fnmatch.fnmatchcase(beginning + rest, pattern) for rest in rests)
