"""Patterns as Fluent Bit writes them, for Python's engine: what collector.config.onigmo is held to.

Python's engine backtracks, so a pattern may run away on it: not for what containers write.
"""

from __future__ import annotations

import re

_CLASSES = {
    "alnum": "a-zA-Z0-9",
    "alpha": "a-zA-Z",
    "blank": r" \t",
    "cntrl": r"\x00-\x1f\x7f",
    "digit": "0-9",
    "graph": r"\x21-\x7e",
    "lower": "a-z",
    "print": r"\x20-\x7e",
    "punct": r"!-/:-@\[-`{-~",
    "space": r"\s",
    "upper": "A-Z",
    "word": r"\w",
    "xdigit": "0-9a-fA-F",
}
_TOKEN = re.compile(
    r"""(?P<named>\(\?<(?=[A-Za-z_]))       # (?<name>  is (?P<name>
      | (?P<callback>\\[gk]<(?P<name>[^>]*)>)
      | (?P<escape>\\.)
      | \[:(?P<posix>\^?[a-z]+):\]
      | (?P<options>\(\?[a-z-]*m[a-z-]*[:)])
      | (?P<open>\[) | (?P<close>\]) | (?P<both>&&)""",
    re.VERBOSE | re.DOTALL,
)
_LINE = re.compile(r"/(?P<pattern>.*)/(?P<options>[imx]*)", re.DOTALL)


def compile_regex(written: str) -> re.Pattern[str]:
    """A regular expression, bare or between slashes with options (`/^a/i`).

    As in Ruby, `^` and `$` match at every line. Raises ValueError.
    """
    flags = re.MULTILINE
    delimited = _LINE.fullmatch(written)
    options = ""
    if delimited is not None:
        written, options = delimited["pattern"], delimited["options"]
    for letter, flag in (("i", re.IGNORECASE), ("m", re.DOTALL), ("x", re.VERBOSE)):
        if letter in options:
            flags |= flag
    try:
        return re.compile(_translate(written), flags)
    except (re.error, RecursionError, OverflowError) as reason:
        raise ValueError(f"expected a regular expression: {reason}.") from None


def _translate(written: str) -> str:
    depth = 0  # of brackets: inside a set the escapes differ
    pieces: list[str] = []
    end = 0
    for found in _TOKEN.finditer(written):
        pieces.append(written[end : found.start()])
        end = found.end()
        if found["open"]:
            depth += 1
            if depth > 1:
                raise ValueError("expected a regular expression without sets inside sets.")
        elif found["close"]:
            depth = max(0, depth - 1)
        pieces.append(_translate_token(found, inside=depth > 0))
    pieces.append(written[end:])
    return "".join(pieces)


def _translate_token(found: re.Match[str], *, inside: bool) -> str:
    if found["named"]:
        return found[0] if inside else "(?P<"
    if found["callback"]:
        if found[0][1] == "g":
            raise ValueError(f"expected a regular expression without the call {found[0]}.")
        return f"(?P={found['name']})"
    if found["posix"]:
        return _translate_posix(found["posix"], inside=inside)
    if found["both"] and inside:
        raise ValueError("expected a regular expression without && in a set.")
    if found["options"]:
        # Ruby's m is Python's s.
        return found[0].replace("m", "s")
    if found["escape"]:
        return _translate_escape(found[0], inside=inside)
    return found[0]


def _translate_posix(name: str, *, inside: bool) -> str:
    if not inside or name not in _CLASSES:
        raise ValueError(f"expected a regular expression; [:{name}:] can't be used in it.")
    return _CLASSES[name]


def _translate_escape(escape: str, *, inside: bool) -> str:
    if escape == r"\h":
        return "0-9a-fA-F" if inside else "[0-9a-fA-F]"
    if escape == r"\H" and not inside:
        return "[^0-9a-fA-F]"
    if escape == r"\z" and not inside:
        return r"\Z"
    if escape == r"\Z" and not inside:
        return r"(?=\n?\Z)"
    if escape == r"\/":
        return "/"
    if escape in (r"\R", r"\K", r"\X", r"\p", r"\P", r"\H"):
        raise ValueError(f"expected a regular expression without {escape}.")
    return escape
