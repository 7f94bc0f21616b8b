"""Patterns in Ruby's dialect (Onigmo, as Fluent Bit has them) for RE2, which can't run away.

These patterns meet what containers write, so the time that a line takes must not
depend on how it was made up. RE2 takes time in proportion to the line, whatever the
pattern. What it has no way to do (looking around, back references, atomic groups) is
refused with the reason. Two more differences: `\\w`, `\\d`, `\\s` and `\\b` mean ASCII, and
the memory of a match is bounded (`MAX_BYTES`).

Lines are bytes that need not be UTF-8. A pattern in ASCII is matched byte by byte; in
one with other letters a character is one of UTF-8.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

MAX_BYTES = 8 << 20  # of the automaton that RE2 makes of one pattern

_DELIMITED = re.compile(r"/(?P<pattern>.*)/(?P<options>[imxo]*)", re.DOTALL)
_UNICODE = re.compile(r"[^\x00-\x7f]|\\[pP]|\\x\{|\\u")
_TOKEN = re.compile(
    r"""(?P<escape>\\(?:u[0-9a-fA-F]{4}|.))
      | (?P<comment>\(\?\#[^)]*\))
      | (?P<named>\(\?<(?P<name>[^\W\d]\w*)>)
      | (?P<around>\(\?(?:=|!|<=|<!|>|~|\())
      | (?P<options>\(\?[a-z]*(?:-[a-z]+)?[:)])
      | (?P<times>\{,[0-9]+\})
      | (?P<set>\[\^?\]?)
      | (?P<space>\s+|\#[^\n]*)""",
    re.VERBOSE | re.DOTALL,
)
_IN_SET = re.compile(
    r"(?P<escape>\\(?:u[0-9a-fA-F]{4}|.))|(?P<posix>\[:\^?[a-z]+:\])|(?P<nested>\[|&&)|(?P<close>\])",
    re.DOTALL,
)
_AROUND = {"(?=": "looks ahead", "(?!": "looks ahead", "(?<=": "looks behind", "(?<!": "looks behind"}
_ESCAPES = {r"\h": "[0-9a-fA-F]", r"\H": "[^0-9a-fA-F]", r"\Z": r"(?:\n?\z)", r"\e": r"\x1b"}
_SET_ESCAPES = {r"\h": "0-9a-fA-F", r"\e": r"\x1b", r"\b": r"\x08"}
_NOT_IN_RE2 = re.compile(r"\\[GKRXgk1-9]")


@dataclass(frozen=True, slots=True)
class Pattern:
    """A pattern over bytes. `names` are those of its groups, in their order."""

    written: str
    names: tuple[str, ...]
    _compiled: Any = field(compare=False, repr=False)
    # Ruby lets several groups have one name, of which RE2 would tell the first only: name -> all of them.
    _shared: Mapping[str, tuple[str, ...]] = field(default_factory=dict, compare=False, repr=False)

    def is_in(self, text: bytes) -> bool:
        """Whether it is found anywhere in the text."""
        return self._compiled.search(text) is not None

    def span(self, text: bytes) -> tuple[int, int] | None:
        """Where it is found first."""
        found = self._compiled.search(text)
        return None if found is None else found.span()

    def groups(self, text: bytes) -> list[bytes | None] | None:
        """All of the first match and what its groups are, by number (None: took no part); None: not found."""
        found = self._compiled.search(text)
        return None if found is None else [found.group(), *found.groups()]

    def fields(self, text: bytes) -> list[tuple[str, bytes | None]] | None:
        """What its named groups are (None: took no part); None: it is not found."""
        found = self._compiled.search(text)
        if found is None:
            return None
        if not self._shared:
            return [(name, found.group(name.encode())) for name in self.names]
        groups = {name: self._shared.get(name, (name,)) for name in self.names}
        values = {name: [found.group(one.encode()) for one in them] for name, them in groups.items()}
        return [(name, next((one for one in values[name] if one is not None), None)) for name in self.names]


def compile_onigmo(written: str) -> Pattern:
    """A pattern, bare or between slashes with options (`/^a/i`), `^` and `$` matching at every line.

    Raises ValueError with what is wrong, or what RE2 can't do.
    """
    import re2  # only a configuration with such patterns needs it

    translated, is_unicode, shared = translate(written)
    options = re2.Options()
    options.encoding = re2.Options.Encoding.UTF8 if is_unicode else re2.Options.Encoding.LATIN1
    options.max_mem = MAX_BYTES
    options.log_errors = False
    try:
        compiled = re2.compile(translated.encode("utf-8", "surrogateescape"), options)
    except re2.error as error:
        reason = error.args[0] if error.args else error
        shown = reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)
        raise ValueError(f"expected a regular expression that RE2 can run: {shown}.") from None
    by_number = sorted((number, name.decode()) for name, number in compiled.groupindex.items())
    others = {name for groups in shared.values() for name in groups[1:]}
    return Pattern(written, tuple(name for _, name in by_number if name not in others), compiled, shared)


class Translated(NamedTuple):
    """In RE2's syntax; whether characters are those of UTF-8; names that several groups have, and theirs."""

    text: str
    is_unicode: bool
    shared: dict[str, tuple[str, ...]]


def translate(written: str) -> Translated:
    """Raises ValueError."""
    delimited = _DELIMITED.fullmatch(written)
    options = ""
    if delimited is not None:
        written, options = delimited["pattern"], delimited["options"]
    flags = "m" + ("i" if "i" in options else "") + ("s" if "m" in options else "")
    groups: dict[str, tuple[str, ...]] = {}
    text = f"(?{flags})" + _translate(written, groups, is_extended="x" in options)
    shared = {name: them for name, them in groups.items() if len(them) > 1}
    return Translated(text, bool(_UNICODE.search(written)), shared)


def _translate(written: str, groups: dict[str, tuple[str, ...]], *, is_extended: bool) -> str:
    pieces: list[str] = []
    at = 0
    while at < len(written):
        found = _TOKEN.match(written, at)
        if found is None:
            pieces.append(written[at])
            at += 1
            continue
        at = found.end()
        if found["named"]:
            pieces.append(f"(?P<{_own_name(found['name'], groups)}>")
        elif found["set"]:
            pieces.append(found[0])
            at = _translate_set(written, at, pieces)
        elif not (found["comment"] or (found["space"] and is_extended)):
            pieces.append(_translate_token(found))
    return "".join(pieces)


def _own_name(name: str, groups: dict[str, tuple[str, ...]]) -> str:
    """A name that no other group has; all that a name became are noted in `groups`."""
    known = groups.get(name, ())
    own = f"{name}__{len(known) + 1}" if known else name
    groups[name] = (*known, own)
    return own


def _translate_token(found: re.Match[str]) -> str:
    if found["escape"]:
        return _translate_escape(found[0])
    if found["around"]:
        what = _AROUND.get(found[0], "is conditional or atomic")
        raise ValueError(
            f"expected a regular expression that RE2 can run; {found[0]} {what}, whose time has no bound."
        )
    if found["options"]:
        if "x" in found[0]:
            raise ValueError("expected a regular expression without (?x); write /.../x around all of it.")
        return found[0].replace("m", "s")  # Ruby's m is RE2's s
    if found["times"]:
        return "{0" + found[0][1:]
    return found[0]


def _translate_escape(escape: str) -> str:
    if _NOT_IN_RE2.match(escape):
        raise ValueError(f"expected a regular expression that RE2 can run; {escape} is not in it.")
    if escape.startswith(r"\u") and len(escape) == 6:
        return r"\x{" + escape[2:] + "}"
    return _ESCAPES.get(escape, escape)


def _translate_set(written: str, at: int, pieces: list[str]) -> int:
    """What follows the opening bracket; returns where the set ends."""
    while at < len(written):
        found = _IN_SET.match(written, at)
        if found is None:
            pieces.append(written[at])
            at += 1
            continue
        at = found.end()
        if found["nested"]:
            raise ValueError("expected a regular expression without sets inside sets.")
        if found["escape"] and found[0] == r"\H":
            raise ValueError(r"expected a regular expression without \H in a set.")
        escape = _SET_ESCAPES.get(found[0]) if found["escape"] else None
        pieces.append(escape or (_translate_escape(found[0]) if found["escape"] else found[0]))
        if found["close"]:
            return at
    return at  # RE2 says that the bracket is missing
