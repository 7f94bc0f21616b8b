"""`make bench`: runs every module of this folder that has run(), and prints one table.

make bench                    all
python -m tests.bench tail    those whose name has "tail" in it
"""

from __future__ import annotations

import importlib
import pkgutil
import sys
from collections.abc import Iterator

from rich.console import Console
from rich.table import Table

from tests import bench
from tests.bench.alone import measure
from tests.bench.row import Row


def benches(wanted: list[str]) -> Iterator[str]:
    """Name of each bench module; `wanted` are parts of names, none for all."""
    for found in pkgutil.iter_modules(bench.__path__):
        if found.name == "__main__" or (wanted and not any(part in found.name for part in wanted)):
            continue
        if hasattr(importlib.import_module(f"{bench.__name__}.{found.name}"), "run"):
            yield found.name


def number(value: float) -> str:
    """Three digits that matter, thousands apart."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def table(rows: list[tuple[str, Row]]) -> Table:
    drawn = Table("bench", "figure", box=None, title="podwitness beside the limits of this machine")
    for heading in ("value", "limit", "value/limit"):
        drawn.add_column(heading, justify="right")
    drawn.add_column("limit is")
    for name, row in rows:
        limit = f"{number(row.limit_value)} {row.unit}" if row.limit_value else "-"
        ratio = number(row.ratio) if row.ratio is not None else "-"
        value = f"{number(row.value)} {row.unit}"
        if row.between:
            value += f" ({' to '.join(map(number, row.between))})"
        drawn.add_row(name, row.name, value, limit, ratio, row.limit_name or "-")
    return drawn


def main(wanted: list[str]) -> int:
    """Exit code 1 when nothing was measured."""
    screen = Console(width=None if sys.stdout.isatty() else 160)
    rows = []
    for name in benches(wanted):
        print(f"  {name} ...", file=sys.stderr, flush=True)
        rows += [(name, row) for row in measure(f"{bench.__name__}.{name}")]
    if not rows:
        print(f"no bench matches {wanted}: names are those of the files in tests/bench", file=sys.stderr)
        return 1
    screen.print(table(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
