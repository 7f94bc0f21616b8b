"""The rules of the tree: who may import whom, how long a file or function gets, what names mean nothing.

An exception is a line in one of the tables below, with its reason.
"""

from __future__ import annotations

import ast
import re
import statistics
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[2]
PRODUCT = ("collector", "probes", "ext")
NOT_OURS = {".git", ".venv", "build", "dist", "__pycache__", ".mypy_cache", ".ruff_cache", ".pytest_cache",
            ".hypothesis", ".vagrant"}  # fmt: skip

FILE_LINES = 500
C_LINE_CHARACTERS = 120
PROBE_FILE_LINES = 350  # one subject a file; what is longer has two
FUNCTION_MEDIAN, FUNCTION_P90, FUNCTION_MAX = 12, 40, 80

# "path:function": why it is longer than FUNCTION_MAX.
LONG_FUNCTIONS: dict[str, str] = {}

# Module: why no test file carries its name.
NO_TEST_FILE = {
    "collector.__main__": "two lines; tests of the command line start it as a process",
    "collector.context": "a record of what plugins get; every plugin test makes one",
    "collector.errors": "declarations; raised and read in the tests of those that raise",
    "collector.plan": "declarations; encoded by the tests of collector.native",
    "collector.plugin": "protocols without a body",
    "collector.kubernetes.api_errors": "declarations; raised in the tests of collector.kubernetes.api",
    "collector.config.sections": "declarations; made by the tests of the readers",
    "collector.delivery.chunk": "declarations; made by the tests of delivery and inputs",
    "collector.delivery.spool_schema": "a part of the spool: tests/unit/test_spool.py",
    "probes.btf_files": "a part of the cache: tests/unit/test_cache.py, tests/kernel/test_probe_cache.py",
    "probes.cache_key": "a part of the cache: the same",
    "probes.codes": "a protocol without a body",
    "probes.kept_code": "a part of the cache: the same",
}

# Room: the rooms, or modules of rooms, that it may know beside itself. What stands in collector/ itself may
# be known by all but `probes` and `ext`. ARCHITECTURE.md has the same table.
MAY_KNOW: dict[str, tuple[str, ...]] = {
    "ext": (),
    "probes": (),
    "collector.native": ("collector.delivery.chunk",),
    "collector.multiline": ("collector.config.onigmo",),
    "collector.parsers": ("collector.config", "collector.native"),
    "collector.config": ("collector.multiline", "collector.parsers"),
    "collector.service": ("collector.config",),
    "collector.delivery": ("collector.config", "collector.service"),
    "collector.outputs": ("collector.config", "collector.delivery", "collector.native.sealing"),
    "collector.kubernetes": ("collector.config", "collector.delivery.retry", "collector.outputs"),
    "collector.identity": ("collector.kubernetes",),
    "collector.cri": ("collector.delivery.retry", "collector.identity", "collector.service"),
    "collector.filters": (
        "collector.config",
        "collector.delivery",
        "collector.identity",
        "collector.kubernetes",
        "collector.multiline",
        "collector.parsers",
    ),
    "collector.inputs": (
        "collector.config",
        "collector.delivery",
        "collector.filters.chain",
        "collector.identity",
        "collector.kubernetes",
        "collector.multiline",
        "collector.native",
        "collector.parsers",
        "collector.service",
        "probes",
    ),
    "collector.doctor": (
        "collector.config",
        "collector.cri",
        "collector.identity",
        "collector.inputs",
        "collector.native",
        "probes",
    ),
    "collector": ("collector", "probes"),
}
# C file: the writable globals it may have. See each for the reason.
STATE = {"ext/openssl.c": ["pw_openssl"]}
# Module: the only importers of it, as prefixes.
IMPORTED_ONLY_BY = {
    "collector._native": ("collector.native",),
    "collector.run": ("collector.cli",),
    "bcc": ("probes",),
}

MEANINGLESS = {"manager", "managers", "helper", "helpers", "util", "utils", "common", "misc", "base",
               "handler", "handlers", "data"}  # fmt: skip

# Modules that import each other, by way of others maybe, for types too: why they do.
CIRCLES = {
    frozenset({"collector.context", "collector.plugins", "collector.config.document"}):
        "a document names plugins, whose contexts say what the document says of all",
}  # fmt: skip

# In two halves each, so that this file does not hold what it forbids.
UNFINISHED = ("TO" + "DO", "FIX" + "ME", "XX" + "X")
MACHINE_PATHS = ("/" + "work/", "/" + "farm/", "/tmp/" + "team", "/root/" + ".pyenv", "." + "library/")
REGISTRY_HOSTS = (
    "pypi" + ".org", "python" + "hosted.org", "deb.debian" + ".org", "snapshot.debian" + ".org",
    "registry.npmjs" + ".org", "proxy.golang" + ".org", "crates" + ".io",
)  # fmt: skip
FORBIDDEN = re.compile(
    "|".join(
        [rf"\b{word}\b" for word in UNFINISHED] + [re.escape(part) for part in MACHINE_PATHS + REGISTRY_HOSTS]
    )
)


class Function(NamedTuple):
    where: str  # "path:name"
    lines: int


def files(*suffixes: str, under: tuple[str, ...] = ("",)) -> list[Path]:
    """Files of the tree with one of `suffixes` ("" for all), relative to the root."""
    found = []
    for top in under:
        for path in sorted((ROOT / top).rglob("*")):
            relative = path.relative_to(ROOT)
            if path.is_file() and not NOT_OURS & set(relative.parts) and path.name.endswith(suffixes):
                found.append(relative)
    return found


def text_of(path: Path) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


def module_of(path: Path) -> str:
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(path: Path) -> Iterator[str]:
    """Dotted names that a file imports; `from a import b` gives a.b, which may be a name or a module."""
    for node in ast.walk(ast.parse(text_of(path))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import; write the whole name"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def is_in(name: str, room: str) -> bool:
    return name == room or name.startswith(room + ".")


def within(name: str, rooms: tuple[str, ...]) -> bool:
    return any(is_in(name, room) for room in rooms)


def room_of(module: str) -> str:
    """The most exact; "" for what is not of this tree."""
    return max((room for room in MAY_KNOW if is_in(module, room)), key=len, default="")


def python_functions(path: Path) -> Iterator[Function]:
    for node in ast.walk(ast.parse(text_of(path))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            yield Function(f"{path}:{node.name}", node.end_lineno - node.lineno + 1)


def c_functions(path: Path) -> Iterator[Function]:
    """Functions whose body's braces stand in the first column, or whose head ends in a brace there."""
    head, start = "", 0
    for number, line in enumerate(text_of(path).splitlines(), 1):
        if not start and re.match(r"[A-Za-z_].*\(", line):
            head, first = line, number
        if not start and head and (line.startswith("{") or re.search(r"\)\s*\{$", line)):
            start = first
        elif start and line.startswith("}"):
            name = re.search(r"(\w+)\s*\(", head)
            yield Function(f"{path}:{name[1] if name else head}", number - start + 1)
            head, start = "", 0
        elif not start and line.endswith((";", "}")):
            head = ""


def functions(*languages: str) -> list[Function]:
    found: list[Function] = []
    for path in files(*languages, under=PRODUCT):
        found.extend(python_functions(path) if path.suffix == ".py" else c_functions(path))
    return found


PYTHON = files(".py", under=PRODUCT)


@pytest.mark.parametrize("path", PYTHON, ids=str)
def test_imports_go_one_way(path: Path) -> None:
    module = module_of(path)
    own = room_of(module)
    shared = ("",) if own in ("ext", "probes") else ("", "collector")
    foreign = [name for name in imports_of(path) if room_of(name) not in (own, *shared)]
    wrong = [name for name in foreign if not within(name, MAY_KNOW[own])]
    assert not wrong, f"{module} may not know {wrong}"


def test_rooms_are_those_of_the_architecture() -> None:
    rows = re.findall(
        r"^\| `(collector/\w+)/` \|[^|]*\| ([^|]*) \|$", text_of(Path("ARCHITECTURE.md")), re.MULTILINE
    )
    written = {room.replace("/", "."): set(re.findall(r"`([^`]+)`", knows)) for room, knows in rows}
    known = {
        room: {one.removeprefix("collector.").replace(".", "/") for one in knows}
        for room, knows in MAY_KNOW.items()
        if room.startswith("collector.")
    }
    assert written == known
    folders = {
        f"collector.{path.name}" for path in (ROOT / "collector").iterdir() if (path / "__init__.py").exists()
    }
    assert folders == set(known)


def imported_modules() -> dict[str, set[str]]:
    """Of each of our modules, those of ours that it imports."""
    modules = {module_of(path): path for path in PYTHON}

    def module_in(name: str) -> str:
        return next((name for name in (name, name.rpartition(".")[0]) if name in modules), "")

    return {
        module: {module_in(name) for name in imports_of(path)} - {module, ""}
        for module, path in modules.items()
    }


def reached(start: str, imported: dict[str, set[str]]) -> set[str]:
    found, left = set[str](), [start]
    while left:
        new = imported[left.pop()] - found
        found |= new
        left += new
    return found


def test_modules_that_import_each_other_have_a_reason() -> None:
    imported = imported_modules()
    reach = {module: reached(module, imported) for module in imported}
    circles = {
        frozenset(other for other in known if module in reach[other])
        for module, known in reach.items()
        if module in known
    }
    assert circles == set(CIRCLES)


@pytest.mark.parametrize("target", IMPORTED_ONLY_BY)
def test_a_door_has_one_importer(target: str) -> None:
    allowed = IMPORTED_ONLY_BY[target]
    wrong = [
        f"{path} imports {name}"
        for path in PYTHON
        for name in imports_of(path)
        if is_in(name, target) and not within(module_of(path), allowed)
    ]
    assert not wrong


def test_files_are_short() -> None:
    sizes = {path: len(text_of(path).splitlines()) for path in files(".py", ".c", ".h")}
    limit = {path: PROBE_FILE_LINES if path.name.endswith(".bpf.c") else FILE_LINES for path in sizes}
    assert {str(path): lines for path, lines in sizes.items() if lines > limit[path]} == {}


def test_lines_of_c_are_short() -> None:
    """Those of Python ruff looks at."""
    long = {
        f"{path}:{number}": len(line)
        for path in files(".c", ".h", under=("ext", "probes", "tests"))
        for number, line in enumerate(text_of(path).splitlines(), 1)
        if len(line) > C_LINE_CHARACTERS
    }
    assert long == {}


@pytest.mark.parametrize("languages", [(".py",), (".c", ".h")], ids=["python", "c"])
def test_functions_are_short(languages: tuple[str, ...]) -> None:
    found = functions(*languages)
    sizes = sorted(function.lines for function in found)
    long = {where: lines for where, lines in found if lines > FUNCTION_MAX and where not in LONG_FUNCTIONS}
    assert long == {}
    assert statistics.median(sizes) <= FUNCTION_MEDIAN
    assert sizes[len(sizes) * 9 // 10] <= FUNCTION_P90


def test_exceptions_for_long_functions_are_needed() -> None:
    long = {where for where, lines in functions(".py", ".c", ".h") if lines > FUNCTION_MAX}
    assert set(LONG_FUNCTIONS) - long == set()


def test_names_say_what_is_in_a_file() -> None:
    names = files(".py", ".c", ".h", ".sh", under=(*PRODUCT, "tests"))
    wrong = [path for path in names for part in path.parts if MEANINGLESS & set(re.split(r"[_.\-]", part))]
    assert not wrong


def test_nothing_unfinished_and_no_trace_of_one_machine() -> None:
    found = []
    for path in files(""):
        try:
            lines = text_of(path).splitlines()
        except UnicodeDecodeError:  # recorded bytes under tests/golden
            continue
        found += [
            f"{path}:{n}: {hit[0]}" for n, line in enumerate(lines, 1) if (hit := FORBIDDEN.search(line))
        ]
    assert not found


def modules_to_test() -> list[str]:
    names = [
        module_of(path) for path in files(".py", under=("collector", "probes")) if path.stem != "__init__"
    ]
    return [name for name in names if name not in NO_TEST_FILE]


@pytest.mark.parametrize("module", modules_to_test())
def test_every_module_has_a_test_file_of_its_name(module: str) -> None:
    """test_<module>*.py or test_<room>_<module>*.py anywhere under tests, and it speaks of that module."""
    *_, room, name = module.split(".")
    pattern = re.compile(rf"test_({room}_)?{name}(_\w+)?\.py")
    candidates = [path for path in files(".py", under=("tests",)) if pattern.fullmatch(path.name)]
    spoken = re.compile(
        rf"{re.escape(module)}\b|from {re.escape(module.rpartition('.')[0])} import .*\b{name}\b"
    )
    assert any(spoken.search(text_of(path)) for path in candidates), f"no test file for {module}"


def test_exceptions_from_testing_exist() -> None:
    modules = {module_of(path) for path in PYTHON}
    assert set(NO_TEST_FILE) - modules == set()


def test_python_is_that_of_the_oldest_supported_version() -> None:
    for path in files(".py"):
        ast.parse(text_of(path), filename=str(path), feature_version=(3, 11))


def test_warnings_of_the_c_compiler_are_errors() -> None:
    from ext import build_native

    assert {"-std=c11", "-Wall", "-Wextra", "-Werror"} <= set(build_native.COMPILE_FLAGS)


def test_extension_knows_no_python() -> None:
    assert [str(path) for path in files(".c", ".h", under=("ext",)) if "Python.h" in text_of(path)] == []


@pytest.mark.parametrize("path", files(".c", under=("ext",)), ids=str)
def test_extension_keeps_no_state_of_its_own(path: Path, tmp_path: Path) -> None:
    """No writable global but those of STATE.

    Without -fPIC constant tables of pointers are in read-only memory too.
    """
    from ext import build_native

    built = tmp_path / "one.o"
    include = [f"-I{directory}" for directory in build_native.INCLUDE_DIRS]
    flags = [*build_native.COMPILE_FLAGS, *include, "-fno-pic"]
    subprocess.run(["gcc", *flags, "-c", str(path), "-o", str(built)], cwd=ROOT, check=True)
    symbols = subprocess.run(["nm", str(built)], capture_output=True, text=True, check=True).stdout
    assert re.findall(r"^\w+ [bBdDC] (\w+)$", symbols, re.MULTILINE) == STATE.get(str(path), [])
