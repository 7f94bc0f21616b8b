"""collector.dns_fields names what a message of DNS gives, and nothing else."""

from __future__ import annotations

from collector.dns_fields import DNS_FIELDS
from tests.reference import dns_messages as messages
from tests.reference.dns import parse


def test_rows_are_the_fields_of_a_query_and_its_answer() -> None:
    address = messages.resource(messages.name("a.b"), messages.A, bytes(4))
    found = (parse(messages.query("a.b")) or {}) | (parse(messages.answer("a.b", [address])) or {})
    question = found.pop("question")
    names = {f"dns.{name}" for name in found} | {f"dns.question.{name}" for name in question}
    assert {field.name for field in DNS_FIELDS} == names


def test_every_row_says_what_it_means() -> None:
    assert all(field.meaning.endswith(".") for field in DNS_FIELDS)
