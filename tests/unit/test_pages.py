"""The reference pages are what the tables say."""

from __future__ import annotations

import pytest

from docs.pages import HERE, PAGES


@pytest.mark.parametrize("name", PAGES)
def test_page_is_as_new_as_its_table(name: str) -> None:
    assert (HERE / name).read_text(encoding="utf-8") == PAGES[name](), "run `make docs`"


def test_every_page_is_printed() -> None:
    assert {path.name for path in HERE.glob("*.md")} == {name for name in PAGES if name.endswith(".md")}
