"""The multiline parsers that need no section: what stack traces look like in go, java, python and ruby.

Names and meaning are Fluent Bit's; the rules also know what newer runtimes write (Go 1.22's goroutine
lines, Python 3.11's carets, an exception without a message).
"""

from __future__ import annotations

from functools import cache

from collector.config.onigmo import compile_onigmo
from collector.multiline.parsers import MultilineParser, Rule, connected

# State or states, by commas; what the line looks like; the state then.
_RULES: dict[str, tuple[tuple[str, str, str], ...]] = {
    "go": (
        ("start_state", r"\bpanic: ", "after_panic"),
        ("start_state", r"^fatal error: ", "after_panic"),
        ("start_state", r"http: panic serving", "goroutine"),
        ("after_panic", r"^\s+panic: ", "after_panic"),  # recovered, and raised again
        ("after_panic", r"^\[signal ", "after_signal"),
        ("after_panic, after_signal, frame", r"^$", "goroutine"),
        ("goroutine", r"^goroutine \d+ .*\[[^\]]+\]:$", "frame"),
        ("goroutine", r"^$", "goroutine"),
        ("frame", r"^created by |^\.\.\.additional frames elided|^[^\s():]+[^\s:]*\(", "frame_place"),
        ("frame_place", r"^\s", "frame"),
    ),
    "java": (
        (
            "start_state",
            r".(?:Exception|Error|Throwable|V8 errors stack trace)(?:[:\r\n]|$)",
            "after_exception",
        ),
        ("nested", r".(?:Exception|Error|Throwable)(?:[:\r\n]|$)", "after_exception"),
        ("after_exception", r"^[\t ]*nested exception is:[\t ]*", "nested"),
        ("after_exception", r"^[\r\n]*$", "after_exception"),
        ("after_exception, frame", r"^[\t ]+(?:eval )?at ", "frame"),
        ("after_exception, frame", r"^[\t ]+--- End of inner exception stack trace ---$", "frame"),
        (
            "after_exception, frame",
            r"^--- End of stack trace from previous location where exception was thrown ---$",
            "frame",
        ),
        ("after_exception, frame", r"^[\t ]*(?:Caused by|Suppressed):", "after_exception"),
        ("after_exception, frame", r"^[\t ]*\.\.\. \d+ (?:more|common frames omitted)", "frame"),
    ),
    "python": (
        ("start_state", r"^Traceback \(most recent call last\):$", "frame"),
        ("frame", r"^[\t ]+File ", "code"),
        ("frame", r"^[\t ]+[~^]+[~^ ]*$", "frame"),
        ("frame", r"^[\t ]+\[Previous line repeated \d+ more times?\]$", "frame"),
        ("code", r"[^\t ]", "frame"),
        ("frame", r"^(?:[^\s.():]+\.)*(?:[^\s.():]+:|[A-Z][^\s.():]*$)", "start_state"),
    ),
    "ruby": (
        ("start_state", r"^.+:\d+:in\s+.", "frame"),
        ("frame", r"^\s+from\s+.*:\d+:in\s+.", "frame"),
    ),
}  # fmt: skip

NAMES = tuple(_RULES)
CONTAINER_NAMES = ("cri", "docker")  # done by the log core: parts of one line, not lines of one record


@cache
def built_in(name: str) -> MultilineParser:
    """One of NAMES."""
    rules = [
        Rule(tuple(state.strip() for state in before.split(",")), compile_onigmo(pattern), then)
        for before, pattern, then in _RULES[name]
    ]
    return MultilineParser(name, connected(rules))
