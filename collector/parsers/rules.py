"""The rules of Decode_Field and Decode_Field_As, as they are written."""

from __future__ import annotations

from dataclasses import dataclass

BACKENDS = ("json", "escaped", "escaped_utf8", "mysql_quoted")
ACTIONS = ("try_next", "do_next")


@dataclass(frozen=True, slots=True)
class Rule:
    """`as_value`: the result takes the value's place (Decode_Field_As); else its pairs go to the end.

    `action` says when the next rule of the field is tried: `try_next` after a failure, `do_next` after a
    success too, "" never.
    """

    as_value: bool
    backend: str
    field: str
    action: str = ""


def read_rule(written: str, *, as_value: bool) -> Rule:
    """`backend field [action]`. Raises ValueError."""
    parts = written.split()
    if len(parts) not in (2, 3):
        raise ValueError("expected a decoder and a field, such as `json log`, and maybe try_next or do_next.")
    backend, field, *more = parts
    action = more[0].lower() if more else ""
    if backend.lower() not in BACKENDS:
        raise ValueError(f"expected one of the decoders {', '.join(BACKENDS)}, not {backend}.")
    if action not in ("", *ACTIONS):
        raise ValueError(f"expected {' or '.join(ACTIONS)} behind the field, not {action}.")
    return Rule(as_value, backend.lower(), field, action)
