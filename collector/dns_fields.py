"""Rows of the table in collector/records.py that are below `dns`. What is malformed has none of them."""

from __future__ import annotations

from typing import NamedTuple


class DnsField(NamedTuple):
    name: str
    type: str
    meaning: str


DNS_FIELDS = (
    DnsField("dns.id", "keyword", "Number by which the answer refers to the query."),
    DnsField("dns.type", "keyword", "`query` or `answer`."),
    DnsField("dns.op_code", "keyword", "`QUERY` as a rule; a rare one as `OPCODEn`."),
    DnsField("dns.header_flags", "keyword[]", "Of `AA`, `TC`, `RD`, `RA`, `AD`, `CD`."),
    DnsField(
        "dns.question.name",
        "keyword",
        "As sent. Bytes that are no visible letters are `\\DDD`, a dot within a label is `\\.`; the root is "
        "`.`.",
    ),
    DnsField("dns.question.type", "keyword", "`A`, `AAAA`, ...; a rare one as `TYPEn`."),
    DnsField("dns.question.class", "keyword", "`IN` as a rule."),
    DnsField("dns.response_code", "keyword", "Of an answer: `NOERROR`, `NXDOMAIN`, ... or `RCODEn`."),
    DnsField("dns.answers_count", "long", "How many the header tells."),
    DnsField(
        "dns.answers",
        "object[]",
        "`name`, `type`, `class`, `ttl` and, for addresses, names and text, `data`. Up to 32.",
    ),
    DnsField("dns.resolved_ip", "ip[]", "Addresses in the answers."),
)
