"""The table of flags: getopt's view of it, and that nothing is listed twice."""

from __future__ import annotations

import getopt

import pytest

from collector.config import flags
from collector.config.arguments import read_arguments

# Fluent Bit 5.1, `fluent-bit --help`.
OF_FLUENT_BIT = "c d i F m o p R e f l t v q S s w H P Y Z W V h D T C"


def test_every_flag_of_fluent_bit_is_known() -> None:
    assert {flag.short for flag in flags.FLAGS} == set(OF_FLUENT_BIT.split())


def test_names_are_unique() -> None:
    names = [name for flag in flags.FLAGS for name in {flag.short, flag.long} if name]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("flag", [one for one in flags.FLAGS if one.refused], ids=str)
def test_a_refused_flag_says_why(flag: flags.Flag) -> None:
    with pytest.raises(getopt.GetoptError, match="is not for podwitness: podwitness"):
        read_arguments([f"--{flag.long}", *(["x"] if flag.takes else [])])


@pytest.mark.parametrize("flag", [one for one in flags.FLAGS if one.ignored], ids=str)
def test_a_flag_without_effect_says_why(flag: flags.Flag) -> None:
    asked = read_arguments([f"-{flag.short}", *(["4096"] if flag.takes else [])])
    assert asked.notices == [f"argument:1: {flag!s} has no effect: {flag.ignored}."]


def test_each_flag_is_in_the_help_and_on_the_page() -> None:
    help_text, page = "\n".join(flags.listing()), "\n".join(flags.table())
    for flag in flags.FLAGS:
        assert f"--{flag.long}" in help_text
        assert f"--{flag.long}" in page
        assert flags.effect(flag)
