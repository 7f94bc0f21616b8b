"""Stack traces as the built-in multiline parsers know them (collector.multiline.built_in)."""

from __future__ import annotations

import pytest

from collector.multiline.built_in import NAMES, built_in
from collector.multiline.joiner import Joiner
from collector.multiline.parsers import MultilineParser


def joined(parsers: list[MultilineParser], lines: list[str]) -> list[str]:
    joiner: Joiner[None] = Joiner(parsers, 1 << 20)
    found = [one for line in lines for one in joiner.take(line.encode(), None)]
    return [one.text.decode() for one in [*found, *joiner.flush()]]


TRACES = {
    "go": [
        "panic: my panic", "", "goroutine 4 gp=0xc000 m=0 mp=0x1 [running]:", "panic(0x45cb40, 0x47ad70)",
        "\t/usr/local/go/src/runtime/panic.go:542 +0x46c", "main.(*T).run.func1(0xc42)",
        "\tfoo.go:6 +0x39",
        "created by main.main in goroutine 1", "\t/home/user/panic.go:8 +0x2c", "", "goroutine 1 [sleep]:",
        "time.Sleep(0x2540be400)", "\ttime.go:59 +0xf9",
    ],
    "java": [
        'Exception in thread "main" java.lang.RuntimeException: wrong', "    at com.my.Main.a(Main.java:22)",
        "Caused by: java.io.IOException", "\tat com.my.Main.b(Main.java:18)", "\t... 3 more",
        "    Suppressed: java.lang.Error: x", "\tat com.my.Main.c(Main.java:6)",
    ],
    "python": [
        "Traceback (most recent call last):", '  File "/app/x.py", line 6, in <module>', "    do()",
        "    ~~^^",
        '  File "/app/x.py", line 2, in do', "    raise ValueError('no')", "ValueError: no",
    ],
    "ruby": [
        "/app/x.rb:3:in `a': wrong (RuntimeError)", "\tfrom /app/x.rb:7:in `b'",
        "\tfrom /app/x.rb:9:in `<main>'",
    ],
}  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_stack_traces_of_built_in_parsers(name: str) -> None:
    lines = ["before", *TRACES[name], "after", "and after", *TRACES[name]]
    whole = "\n".join(TRACES[name])
    assert joined([built_in(name)], lines) == ["before", whole, "after", "and after", whole]


def test_all_built_in_parsers_together() -> None:
    lines = [line for name in NAMES for line in (*TRACES[name], f"after {name}")]
    expected = [text for name in NAMES for text in ("\n".join(TRACES[name]), f"after {name}")]
    assert joined([built_in(name) for name in NAMES], lines) == expected


def test_a_nested_exception_of_java_stays_in_its_record() -> None:
    lines = ["a.B: x; Error: y", "  nested exception is: ", "c.DException: z", "\tat e.f(G.java:1)"]
    assert joined([built_in("java")], lines) == ["\n".join(lines)]
