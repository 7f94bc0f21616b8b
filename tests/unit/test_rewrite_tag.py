"""rewrite_tag: tags made of captures and values, what is kept, and filters that send to each other."""

from __future__ import annotations

from pathlib import Path

import pytest

from collector.config.schema import InvalidConfiguration
from collector.entries import Pairs
from collector.filters import modify, rewrite_tag
from collector.filters.rewrite_tag import MAX_TAG_BYTES, clean_tag
from collector.plugin import AnyFilter
from tests.unit.filtering import SectionText, make, through

RECORD: Pairs = [
    ("log", "ERROR in disk"),
    ("code", 404),
    ("ratio", 0.5),
    ("nothing", None),
    ("kubernetes", {"namespace_name": "shop", "labels": {"app": "web"}}),
]


def rewriting(folder: Path, *rules: str) -> AnyFilter:
    return make(rewrite_tag, SectionText(folder, "\n".join(f"Rule {rule}" for rule in rules)))


def tags(one: AnyFilter, *records: Pairs, tag: str = "kube.x.y") -> dict[str, int]:
    return {name: len(found) for name, found in through(one, *records, tag=tag).items()}


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("$log ^ERROR errors.$TAG false", {"kube.x.y": 0, "errors.kube.x.y": 1}),
        ("$log ^ERROR errors.$TAG[1] true", {"kube.x.y": 1, "errors.x": 1}),
        (r"$log '^(\w+) in (\w+)' $2.$1.$0 false", {"kube.x.y": 0, "disk.ERROR.ERROR in disk": 1}),
        ("$log ^WARN w false", {"kube.x.y": 1}),
        (
            "$kubernetes['namespace_name'] ^(.+)$ ns.$1.$kubernetes['labels']['app'] false",
            {"kube.x.y": 0, "ns.shop.web": 1},
        ),
        ("$log . a.$missing.b.$TAG[9].$7 false", {"kube.x.y": 0, "a..b..": 1}),
        ("$absent . w false", {"kube.x.y": 1}),
        ("$code ^404$ w false", {"kube.x.y": 1}),
        ("$log . code.$code.$ratio.$nothing false", {"kube.x.y": 0, "code.404.0.500000.null": 1}),
        ("$log ^(E) $TAG_copy.$1x false", {"kube.x.y": 0, "kube.x.y_copy.Ex": 1}),
        ("$kubernetes . w false", {"kube.x.y": 1}),
    ],
)
def test_rules(tmp_path: Path, rule: str, expected: dict[str, int]) -> None:
    assert tags(rewriting(tmp_path, rule), RECORD) == expected


def test_the_first_rule_that_matches_counts(tmp_path: Path) -> None:
    one = rewriting(tmp_path, "$log ^ERROR first false", "$log . second false")
    assert tags(one, RECORD, [("log", "x")]) == {"kube.x.y": 0, "first": 1, "second": 1}


def test_records_of_a_new_tag_begin_at_the_first_filter_but_do_not_come_back(tmp_path: Path) -> None:
    mark = make(modify, SectionText(tmp_path, "Set seen yes"))
    first, second = rewriting(tmp_path, "$log . a false"), rewriting(tmp_path, "$log . b true")
    found = through(mark, [("log", "x")], tag="t", others=[first, second])
    assert {tag: [pairs for _, pairs in records] for tag, records in found.items()} == {
        "t": [],
        "a": [[("log", "x"), ("seen", "yes")]],
        "b": [[("log", "x"), ("seen", "yes")]],
    }


def test_a_tag_made_by_a_container_is_bounded_and_printable() -> None:
    assert clean_tag("a\nb\x1b[31m.c") == "a_b_[31m.c"
    assert len(clean_tag("é" * 5000).encode()) <= MAX_TAG_BYTES


@pytest.mark.parametrize(
    ("rule", "reason"),
    [
        ("$log x", "expected four parts"),
        ("log x y false", "expected the key to begin with a dollar sign"),
        ("$log x y maybe", "expected On or Off"),
        (r"$log (a)\1 y false", "is not in it"),
    ],
)
def test_rules_that_are_refused(tmp_path: Path, rule: str, reason: str) -> None:
    with pytest.raises(InvalidConfiguration, match=reason):
        SectionText(tmp_path, f"Rule {rule}").settings(rewrite_tag)
