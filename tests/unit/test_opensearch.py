"""The opensearch output differs from es in a default. Requests: test_bulk.py."""

from __future__ import annotations

from collector.outputs import es, opensearch


def test_the_key_of_the_tag() -> None:
    assert opensearch.Settings().tag_key == "_flb-key"
    assert es.Settings().tag_key == "flb-key"
    assert opensearch.Settings().port == 9200
