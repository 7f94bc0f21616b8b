"""The fuzzer of fuzz.c for code in Python, led by the lines that an input reaches in the product.

`python -m tests.fuzz.fuzz_python NAME LIMIT START FOLDER SEED...` runs `target(data)` of target_NAME.py.
Any exception that leaves it is a finding: what a decoder may raise, the target catches.
"""

from __future__ import annotations

import importlib
import random
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
OURS = (str(ROOT / "collector"), str(ROOT / "probes"))
INPUT_BYTES = 4096
# One input in so many is large, up to this: what is deep, long or many. It is neither traced nor kept.
LARGE_EVERY = 256
LARGE_BYTES = 1 << 20
INPUTS = 4096
INPUT_S = 5.0  # of CPU, which other load does not take
EVERY_INPUTS = 64  # that the clock is looked at

Edge = tuple[CodeType, int, int]


class Coverage:
    """Pairs of lines that ran one after the other in a function of the product."""

    def __init__(self) -> None:
        self._seen: set[Edge] = set()
        self._is_new = False

    def reaches_more(self, target: Callable[[bytes], None], data: bytes) -> bool:
        """Runs the target. Raises what it raises."""
        self._is_new = False
        sys.settrace(self._call)
        try:
            target(data)
        finally:
            sys.settrace(None)
        return self._is_new

    def _call(self, frame: FrameType, event: str, argument: Any) -> Any:
        code = frame.f_code
        if not code.co_filename.startswith(OURS):
            return None
        previous = 0

        def line(frame: FrameType, event: str, argument: Any) -> Any:
            nonlocal previous
            edge = (code, previous, frame.f_lineno)
            previous = frame.f_lineno
            if edge not in self._seen:
                self._seen.add(edge)
                self._is_new = True
            return line

        return line


def mutated(data: bytes, source: random.Random) -> bytes:
    """A few bytes replaced, removed, put in, or a run of them doubled."""
    text = bytearray(data)
    for _ in range(source.randint(1, 4)):
        at = source.randint(0, len(text))
        match source.randrange(4):
            case 0:
                text[at : at + 1] = bytes([source.randrange(256)])
            case 1:
                del text[at : at + source.randint(1, 3)]
            case 2:
                text[at:at] = source.choice((b"\0", b"\xff", b"\n", b"\xdb\xff\xff\xff\xff", b"{", b"0"))
            case _:
                text[at:at] = text[max(0, at - source.randint(1, 20)) : at]
    return bytes(text[:INPUT_BYTES])


def next_input(kept: list[bytes], source: random.Random) -> bytes:
    """The head of one kept input and the tail of another, then mutated."""
    one, other = source.choice(kept), source.choice(kept)
    if source.randrange(4) == 0:
        one = one[: source.randint(0, len(one))] + other[source.randint(0, len(other)) :]
    return mutated(one, source)


def enlarged(data: bytes, source: random.Random) -> bytes:
    """A piece is repeated where it stands, until the whole has a size between 4 KiB and the largest."""
    wanted = INPUT_BYTES << source.randrange((LARGE_BYTES // INPUT_BYTES).bit_length())
    at = source.randrange(max(1, len(data)))
    piece = data[at : at + source.randint(1, 256)]
    copies = max(0, wanted - len(data)) // len(piece) if piece else 0
    return data[:at] + copies * piece + data[at:]


def run(target: Callable[[bytes], None], limit: str, start: int, folder: Path, seeds: list[bytes]) -> str:
    """`limit`: inputs (`300`) or seconds (`60s`). The input that breaks the target goes to folder/broke."""
    source, coverage, kept = random.Random(start), Coverage(), list(seeds)
    end_s = time.monotonic() + float(limit[:-1]) if limit.endswith("s") else float("inf")
    runs = sys.maxsize if limit.endswith("s") else int(limit)
    done, waiting = 0, list(seeds)
    while done < runs and (done % EVERY_INPUTS or time.monotonic() < end_s):
        data = waiting.pop() if waiting else next_input(kept, source)
        is_large = done % LARGE_EVERY == LARGE_EVERY - 1
        data = enlarged(data, source) if is_large else data
        signal.setitimer(signal.ITIMER_PROF, INPUT_S)
        try:
            if is_large:
                target(data)
            elif coverage.reaches_more(target, data) and len(kept) < INPUTS:
                kept.append(data)
        except BaseException:
            (folder / "broke").write_bytes(data)
            raise
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
        done += 1
    return f"{done} runs, {len(kept)} inputs kept"


def _too_slow(number: int, frame: FrameType | None) -> None:
    raise TimeoutError(
        f"an input takes longer than {INPUT_S:g} s:\n" + "".join(traceback.format_stack(frame))
    )


def main(name: str, limit: str, start: str, folder: str, *seeds: str) -> None:
    signal.signal(signal.SIGPROF, _too_slow)
    target = importlib.import_module(f"tests.fuzz.target_{name}").target
    print(run(target, limit, int(start), Path(folder), [Path(seed).read_bytes() for seed in seeds]))


if __name__ == "__main__":
    main(*sys.argv[1:])
