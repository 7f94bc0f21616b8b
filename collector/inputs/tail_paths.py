"""Names of log files: patterns of Path, tags made of paths, links of the kubelet, siblings of a rotation."""

from __future__ import annotations

import bisect
import fnmatch
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from collector.config.onigmo import Pattern
from collector.identity.paths import CONTAINERS, PODS, LogName, read_pod_log

# Where links of the kubelet lead: never out of these, whatever a container managed to put there.
# The kubelet's two are named because an administrator may have moved them to another disk by a link.
LOG_ROOTS = ("/var/log", PODS, CONTAINERS, "/var/lib/docker/containers")

_WILDCARD = re.compile(r"[*?\[]")
_SPECIAL = re.compile(r"[*?]|\[!?\]?[^\]]*\]", re.DOTALL)
# kubelet (time), conmon (number), logrotate (number or date), Python's logging and log4j (date, with the hour
# and so on if they rotate as often), behind the name.
_ROTATED = re.compile(
    r"\.(?:[0-9]{8}-[0-9]{6}|[0-9]{1,4})|-[0-9]{8}(?:-[0-9]{1,10})?"
    r"|[.-][0-9]{4}-[0-9]{2}-[0-9]{2}(?:[-_T][0-9]{2}(?:[-:]?[0-9]{2}){0,2})?"
)
# The API server's audit log (lumberjack): a time before the name's ending, audit-2026-11-24T00-14-32.123.log.
_TIMED = re.compile(r"-[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}-[0-9]{2}-[0-9]{2}\.[0-9]{3}")
_ROTATED_ENDING, _TIMED_ENDING = (re.compile(f"(?:{one.pattern})$") for one in (_ROTATED, _TIMED))
# As Fluent Bit's tag_compose: these bytes become dots.
_SEPARATORS = re.compile(r"[/\\:]")
_PLACEHOLDER = re.compile(r"<([A-Za-z_][A-Za-z0-9_]*)>")
MAX_NUMBER = 9999
COMPRESSED = ".gz"
UNKNOWN_CONTAINER_ID = "0" * 64


@dataclass(frozen=True, slots=True)
class PathPattern:
    """One pattern of Path, as glob(3) reads it: `*` neither crosses `/` nor meets a leading dot."""

    text: str
    fixed: str  # the directory that has no wildcard in it
    levels: tuple[re.Pattern[str], ...]  # what follows, a name each; the last is the file's
    coarse: tuple[str, ...]  # the same in which `*` alone is special: they mean as much or more

    @property
    def depth(self) -> int:
        return len(self.levels)

    def below(self, shown: str, level: int) -> str:
        """What follows a directory, coarsely: of a level, or (-1) one above the fixed part."""
        rest = self.fixed.removeprefix(shown).strip("/").split("/") if level < 0 else ()
        return "/".join((*rest, *self.coarse[max(level, 0) :]))

    def matches(self, path: str) -> bool:
        """Whether an absolute path is one that the pattern means."""
        prefix = self.fixed if self.fixed.endswith("/") else self.fixed + "/"
        if not path.startswith(prefix):
            return False
        names = path[len(prefix) :].split("/")
        return len(names) == self.depth and all(
            level.fullmatch(name) for level, name in zip(self.levels, names, strict=True)
        )


def compile_path(text: str) -> PathPattern:
    """A relative pattern is meant from the working directory, as in Fluent Bit."""
    parts = os.path.abspath(text).split("/")[1:]
    wild = next((index for index, part in enumerate(parts[:-1]) if _WILDCARD.search(part)), len(parts) - 1)
    return PathPattern(
        text,
        "/" + "/".join(parts[:wild]),
        tuple(_compile_name(part) for part in parts[wild:]),
        tuple(_SPECIAL.sub("*", part) for part in parts[wild:]),
    )


def _compile_name(part: str) -> re.Pattern[str]:
    if not _WILDCARD.search(part):
        return re.compile(re.escape(part), re.DOTALL)
    hidden = "" if part.startswith(".") else r"(?!\.)"
    return re.compile(hidden + fnmatch.translate(part), re.DOTALL)


@dataclass(frozen=True, slots=True)
class Selection:
    """Which files an input follows: Path without Exclude_Path."""

    patterns: tuple[PathPattern, ...]
    excluded: tuple[re.Pattern[str], ...]
    host_root: str = "/"

    def wants(self, path: str) -> bool:
        return not self.excludes(path) and any(pattern.matches(path) for pattern in self.patterns)

    def excludes(self, path: str) -> bool:
        """fnmatch(3) without flags, as in Fluent Bit: here `*` crosses `/`."""
        return any(pattern.fullmatch(path) for pattern in self.excluded)

    def hides(self, path: str, *, early: bool) -> bool:
        """Whether a file is not to be opened. `early`: it is a pod's, and will be named by its link."""
        if early:
            kubelet = KubeletRoots.below(self.host_root)
            name = kubelet.log_name(path)
            path = kubelet.link_path(name, UNKNOWN_CONTAINER_ID) if name else ""
        return self.excludes(path)

    @property
    def roots(self) -> tuple[str, ...]:
        """Directories that the files, with links resolved, have to lie in."""
        common = (os.path.join(self.host_root, root[1:]) for root in LOG_ROOTS)
        own = (pattern.fixed for pattern in self.patterns)
        return tuple(dict.fromkeys(map(os.path.realpath, (*common, *own))))


def select(paths: Iterable[str], excluded: Iterable[str], host_root: str = "/") -> Selection:
    return Selection(
        tuple(compile_path(path) for path in paths),
        tuple(re.compile(fnmatch.translate(pattern), re.DOTALL) for pattern in excluded),
        host_root,
    )


def is_below(path: str, roots: Iterable[str]) -> bool:
    return any(path.startswith(root if root.endswith("/") else root + "/") for root in roots)


def tag_of(tag: str, path: str, pattern: Pattern | None = None) -> str:
    """The tag of a file: `<name>` is what that group of the pattern finds in the path, the first `*` is the
    path, then all is cleaned, as Fluent Bit's tag_compose."""
    if pattern is not None:
        fields = dict(pattern.fields(os.fsencode(path)) or ())
        tag = _PLACEHOLDER.sub(lambda found: _shown(fields, found[1]), tag)
    elif "*" not in tag:
        return tag
    composed = _SEPARATORS.sub(".", tag.replace("*", path, 1).lstrip("/"))
    return re.sub(r"\.\.+", ".", composed.replace("*", "")).removesuffix(".")


def _shown(fields: Mapping[str, bytes | None], name: str) -> str:
    # A `*` that a path has would stand for the path itself.
    return os.fsdecode(fields.get(name) or b"_").replace("*", "")


@dataclass(frozen=True, slots=True)
class KubeletRoots:
    """The two directories of the kubelet."""

    containers: str = CONTAINERS
    pods: str = PODS

    @classmethod
    def below(cls, host_root: str) -> Self:
        """Of a host whose root directory is mounted there."""
        return cls(os.path.join(host_root, CONTAINERS[1:]), os.path.join(host_root, PODS[1:]))

    def pods_pattern(self, selection: Selection) -> PathPattern | None:
        """Where the files behind the links appear first; None when Path does not mean the links."""
        fixed = {pattern.fixed for pattern in selection.patterns}
        return compile_path(f"{self.pods}/*/*/*.log") if self.containers in fixed else None

    def log_name(self, path: str) -> LogName | None:
        """The names in the path of a pod's log file."""
        return read_pod_log(path, self.pods)

    def link_path(self, name: LogName, container_id: str) -> str:
        """The link that the kubelet makes for a log file, cut as the kubelet cuts it (at 255 bytes)."""
        stem = f"{name.pod_name}_{name.namespace}_{name.container_name}-{container_id}"
        return f"{self.containers}/{stem[:251]}.log"


def rotated_siblings(name: str, names: Sequence[str]) -> list[str]:
    """Files in the sorted `names` that `name` was renamed to, oldest first. Compressed ones count where the
    same is not there uncompressed: it is removed last.

    Their names tell the order: a time counts up, a number counts down to the newest.
    Times of last writing would not do: they are those of the kernel's tick.
    """
    found: dict[str, None] = {}
    for beginning in (name, os.path.splitext(name)[0] + "-"):
        for other in names[bisect.bisect_left(names, beginning) :]:
            if not other.startswith(beginning):
                break
            plain = other.removesuffix(COMPRESSED)
            if is_rotated(name, plain) and (plain == other or plain not in found):
                found[other] = None
    return sorted(found, key=_age)


def is_rotated(name: str, other: str) -> bool:
    """Whether `other`, which is not compressed, is what `name` is renamed to by one who rotates logs."""
    stem, ending = os.path.splitext(name)
    time = other.removeprefix(stem).removesuffix(ending)
    is_timed = other == f"{stem}{time}{ending}" and _TIMED.fullmatch(time)
    return bool(is_timed or (other.startswith(name) and _ROTATED.fullmatch(other[len(name) :])))


def log_of(path: str) -> str:
    """The log that a rotated file, compressed or not, is of; any other path is its own."""
    plain = path.removesuffix(COMPRESSED)
    stem, ending = os.path.splitext(plain)
    if time := _TIMED_ENDING.search(stem):
        return stem[: time.start()] + ending
    suffix = _ROTATED_ENDING.search(plain)
    return plain[: suffix.start()] if suffix else plain


def _age(name: str) -> tuple[int, str]:
    name = name.removesuffix(COMPRESSED)
    suffix = name.rpartition(".")[2]
    return (-int(suffix), "") if len(suffix) <= 4 and suffix.isdecimal() else (-MAX_NUMBER - 1, name)
