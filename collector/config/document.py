"""A configuration as a whole: files read, checked, and made into typed settings.

Everything that is wrong is collected, so that one attempt shows all of it.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from collector import plugins as catalogue
from collector.config import classic, foreign, upstreams
from collector.config.instances import Common, FilterCommon, InputCommon, OutputCommon, ProcessorCommon
from collector.config.kinds import shown
from collector.config.multiline import MultilineSection, check_names
from collector.config.parsers import Parser, find, framing
from collector.config.schema import InvalidConfiguration, Key, commas, keys_of, nearest, read
from collector.config.sections import Draft, Entry, Section
from collector.config.service import ServiceSettings
from collector.config.stock_parsers import STOCK
from collector.config.variables import replace_variables
from collector.errors import ConfigError
from collector.multiline.parsers import MultilineParser
from collector.plugins import PluginKind

# Stock names that a ConfigMap refers to though it is mounted over the folder that had them.
STOCK_PARSERS_FILES = ("parsers.conf", "custom_parsers.conf")

_PARSER_OF_LINES = re.compile(r"parser_(firstline|[0-9]+)", re.IGNORECASE)

# Fluent Bit's way to raise the level for one run.
LEVEL_VARIABLE = "FLB_LOG_LEVEL"

# Filters that make the same of a chunk each time: no memory, no other tags, nobody who is asked.
PROCESSORS_OF_OUTPUTS = ("grep", "modify", "nest", "parser", "record_modifier")


@dataclass(frozen=True, slots=True)
class PluginConfig:
    """One input, filter or output of a configuration."""

    kind: PluginKind
    plugin: str  # tail
    name: str  # tail.0, or its Alias
    settings: Any  # the Settings of the plugin's module
    common: Common
    section: Section
    nodes: tuple[upstreams.Node, ...] = ()  # of an output's Upstream
    processors: tuple[PluginConfig, ...] = ()  # filters for what one input makes, or one output gets

    @property
    def tag(self) -> str:
        """An input's Tag; its name where none is set."""
        assert isinstance(self.common, InputCommon)
        return self.common.tag or self.name

    @property
    def mem_buf_limit_bytes(self) -> int:
        """An input's Mem_Buf_Limit; 0: none."""
        assert isinstance(self.common, InputCommon)
        return self.common.mem_buf_limit_bytes

    @property
    def uses_spool(self) -> bool:
        """Whether what an input brings may go to the spool."""
        assert isinstance(self.common, InputCommon)
        return self.common.storage_type == "filesystem"

    @property
    def spool_limit_bytes(self) -> int:
        """Most bytes that wait in the spool for an output."""
        assert isinstance(self.common, OutputCommon)
        return self.common.spool_limit_bytes

    @property
    def retry_limit(self) -> int | None:
        """How often an output tries a chunk again; None: as long as it takes."""
        assert isinstance(self.common, OutputCommon)
        return self.common.retry_limit

    @property
    def log_level(self) -> str:
        """Of this plugin alone; "" where it is the service's."""
        return self.common.log_level or ""

    def matches(self, tag: str) -> bool:
        """Whether a filter, processor or output wants records of a tag."""
        assert isinstance(self.common, FilterCommon | ProcessorCommon)
        return self.common.matches(tag)


@dataclass(frozen=True, slots=True)
class Document:
    """A configuration without fault. `notices` are for the operator, one sentence each."""

    service: ServiceSettings
    parsers: Mapping[str, Parser]
    inputs: tuple[PluginConfig, ...]
    filters: tuple[PluginConfig, ...]
    outputs: tuple[PluginConfig, ...]
    notices: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    multiline_parsers: Mapping[str, MultilineParser] = field(default_factory=dict)

    @property
    def all_filters(self) -> tuple[PluginConfig, ...]:
        """Processors of inputs and outputs, and the filters."""
        return (*(one for of in (*self.inputs, *self.outputs) for one in of.processors), *self.filters)


def load_file(
    path: str,
    environ: Mapping[str, str],
    *,
    extra: Sequence[Section] = (),
    parsers_files: Sequence[str] = (),
) -> Document:
    """Reads a configuration in either format, told by the suffix (.yaml, .yml).

    `extra` sections follow those of the file, `parsers_files` those that it names
    (both come from the command line). Raises InvalidConfiguration.
    """
    draft = Draft()
    _reader(path)(path, draft, "command line")
    return _load(draft, environ, extra, parsers_files)


def load_sections(
    sections: Sequence[Section], environ: Mapping[str, str], *, parsers_files: Sequence[str] = ()
) -> Document:
    """A configuration without a file. Raises InvalidConfiguration."""
    return _load(Draft(), environ, sections, parsers_files)


def _load(
    draft: Draft, environ: Mapping[str, str], extra: Sequence[Section], parsers_files: Sequence[str]
) -> Document:
    draft.sections += extra
    sections = _match_only_pair(replace_variables(draft, environ))
    reading = _Reading(draft, environ, sections)
    service = reading.service()
    reading.parsers(parsers_files)
    document = Document(
        service=service,
        parsers=reading.known_parsers,
        inputs=reading.plugins("input"),
        filters=reading.plugins("filter"),
        outputs=reading.plugins("output"),
        notices=tuple(reading.notices),
        files=tuple(draft.files),
        multiline_parsers=reading.known_multiline_parsers,
    )
    reading.check_whole(document)
    if draft.problems:
        raise InvalidConfiguration(_by_place(draft))
    return document


def _by_place(draft: Draft) -> list[ConfigError]:
    """The problems in the order of files and lines, as they are mended."""
    order = {file: number for number, file in enumerate(draft.files)}

    def place(problem: ConfigError) -> tuple[int, int]:
        file, _, rest = problem.problem.partition(": ")[0].rpartition(":")
        return order.get(file, -1), int(rest) if rest.isdecimal() else 0

    return sorted(draft.problems, key=place)


def _match_only_pair(sections: list[Section]) -> list[Section]:
    """One input and one output without Match belong together, as in Fluent Bit."""
    outputs = [section for section in sections if section.name == "OUTPUT"]
    inputs = sum(section.name == "INPUT" for section in sections)
    if inputs != 1 or len(outputs) != 1 or outputs[0].get("Match") or outputs[0].get("Match_Regex"):
        return sections
    only = outputs[0]
    matched = replace(only, entries=(*only.entries, Entry("Match", "*", only.file, only.line)))
    return [matched if section is only else section for section in sections]


def _reader(path: str) -> Callable[[str, Draft, str], None]:
    if not path.endswith((".yaml", ".yml")):
        return classic.read
    # Late: PyYAML stays in memory for as long as the daemon runs, and most files are classic.
    from collector.config import yaml

    return yaml.read


class _Reading:
    """The checks on the sections of one configuration."""

    def __init__(self, draft: Draft, environ: Mapping[str, str], sections: list[Section]) -> None:
        self._draft = draft
        self._environ = environ
        self._sections = sections
        self.notices: list[str] = []
        self._service = ServiceSettings()
        self.known_parsers: dict[str, Parser] = dict(STOCK)
        self.known_multiline_parsers: dict[str, MultilineParser] = {}
        self._parser_places: dict[tuple[str, str], str] = {}

    def service(self) -> ServiceSettings:
        merged = Section("SERVICE", "", 0, ())
        for section in self._of("SERVICE"):
            first = merged if merged.file else section
            merged = replace(first, entries=(*merged.entries, *section.entries))
        if level := self._environ.get(LEVEL_VARIABLE):
            # The last counts.
            own = Entry("Log_Level", level, LEVEL_VARIABLE, 1)
            merged = replace(merged, entries=(*merged.entries, own))
        merged = self._without_ignored("service", "", merged, keys_of(ServiceSettings))
        names = foreign.unsupported("service", "")
        loaded = read(ServiceSettings, merged, self._draft.problems, unsupported=names)
        self._service = loaded or ServiceSettings()
        return self._service

    def _of(self, name: str) -> list[Section]:
        return [section for section in self._sections if section.name == name]

    def _without_ignored(self, kind: str, plugin: str, section: Section, own: Iterable[Key] = ()) -> Section:
        """Without what has no effect, and what Fluent Bit has beside `own` keys and is off.

        `own` empty: no key is known to be none of ours.
        """
        ignored = foreign.ignored(kind, plugin)
        kept: list[Entry] = []
        for entry in section.entries:
            name = entry.key.lower()
            if name in ignored:
                self.notices.append(f"{entry.place}: {entry.key} has no effect: {ignored[name]}.")
            elif own and _is_off(entry) and _is_foreign(kind, plugin, name, own):
                self.notices.append(
                    f"{entry.place}: {entry.key} has no effect: podwitness has nothing to turn off."
                )
            else:
                kept.append(entry)
        return replace(section, entries=tuple(kept))

    def parsers(self, more_files: Iterable[str]) -> None:
        """Reads the parsers of the configuration itself and of the files that it names."""
        for section in self._sections:
            self._parser_section(section)
        for section in self._of("SERVICE"):
            for entry in section.all("Parsers_File"):
                path = os.path.join(os.path.dirname(entry.file), entry.value)
                self._parsers_file(path, entry.place)
        for path in more_files:
            self._parsers_file(path, "command line")

    def _parsers_file(self, path: str, asked_by: str) -> None:
        if not os.path.exists(path) and os.path.basename(path) in STOCK_PARSERS_FILES:
            self.notices.append(f"{asked_by}: {path} is not there; the built-in parsers are used.")
            return
        draft = Draft(problems=self._draft.problems, files=self._draft.files, asked=self._draft.asked)
        _reader(path)(path, draft, asked_by)
        for section in replace_variables(draft, self._environ):
            if section.name not in ("PARSER", "MULTILINE_PARSER"):
                problem = f"[{section.name}] can't stand in a parsers file."
                self._draft.problem(section.place, problem, "Move it to the main file.")
            self._parser_section(section)

    def _parser_section(self, section: Section) -> None:
        if section.name == "MULTILINE_PARSER":
            lines = read(MultilineSection, section, self._draft.problems)
            if lines is not None and self._is_first(section, "multiline parser", lines.name):
                self.known_multiline_parsers[lines.name] = lines.parsed()
        elif section.name == "PARSER":
            parser = read(Parser, section, self._draft.problems)
            if parser is not None and self._is_first(section, "parser", parser.name):
                self.known_parsers[parser.name] = parser

    def _is_first(self, section: Section, what: str, name: str) -> bool:
        """Of several with one name the first is used."""
        first = self._parser_places.setdefault((what, name), section.place)
        if first == section.place:
            return True
        self.notices.append(f"{section.place}: the {what} {name} of {first} is used instead.")
        return False

    def plugins(self, kind: PluginKind) -> tuple[PluginConfig, ...]:
        numbers: Counter[str] = Counter()
        found: list[PluginConfig] = []
        for section in self._of(kind.upper()):
            row = self._row(kind, section)
            if row is None:
                continue
            number = numbers[row.name]
            numbers[row.name] += 1
            loaded = self._plugin(row, f"{row.name}.{number}", section)
            if loaded is not None:
                found.append(loaded)
        return tuple(found)

    def _processors(self, of: str, kind: PluginKind, sections: Sequence[Section]) -> Iterator[PluginConfig]:
        """The filters under an input or output, named after it."""
        numbers: Counter[str] = Counter()
        for section in sections:
            row = self._row("filter", section)
            if row is None:
                continue
            if kind == "output" and row.name not in PROCESSORS_OF_OUTPUTS:
                possible = ", ".join(PROCESSORS_OF_OUTPUTS)
                problem = (
                    f"{row.name} can't be a processor of an output, which may get a chunk several times."
                )
                remedy = f"Write it under the inputs, or as a filter. These can: {possible}."
                self._draft.problem(section.place, problem, remedy)
            number = numbers[row.name]
            numbers[row.name] += 1
            loaded = self._plugin(row, f"{of}.{row.name}.{number}", section)
            if loaded is not None:
                yield loaded

    def _row(self, kind: PluginKind, section: Section) -> catalogue.Row | None:
        called, name = section.name.lower(), section.get("Name")
        if name is None:
            problem = f"[{section.name}] has no Name, so it is not known which {called} it is."
            remedy = f"There are: {', '.join(sorted(catalogue.names(kind)))}."
            self._draft.problem(section.place, problem, remedy)
            return None
        row = catalogue.find(kind, name.value)
        if row is None:
            problem = f"there is no {called} called {shown(name.value)}."
            wanted = name.value.lower()
            instead = foreign.instead(called, wanted) or foreign.instead(kind, wanted)
            remedy = instead or nearest(name.value, catalogue.names(kind))
            self._draft.problem(name.place, problem, remedy)
        return row

    def _plugin(self, row: catalogue.Row, name: str, section: Section) -> PluginConfig | None:
        try:
            module = row.load()
        except ImportError as error:
            problem = f"the {row.kind} {row.name} can't be used: {error}."
            self._draft.problem(section.place, problem, "Install what is missing, or remove the section.")
            return None
        called = section.name.lower()
        common_class = _COMMON[called]
        theirs, ours = keys_of(module.Settings), keys_of(common_class)
        section = self._without_ignored(row.kind, row.name, section, (*theirs, *ours))
        if called == "processor":
            section = self._without_ignored(called, "", section)
        problems = self._draft.problems
        settings = read(
            module.Settings,
            section,
            problems,
            title=f"the {called} {row.name}",
            common=ours,
            unsupported=foreign.unsupported(row.kind, row.name),
        )
        self._say_without_effect(section, getattr(settings, "without_effect", {}))
        common = read(common_class, self._inherited(_only(section, [key.name for key in ours])), problems)
        self._check_parser(section, {key.name for key in theirs})
        name = (common and common.alias) or name
        processors = tuple(self._processors(name, row.kind, section.processors))
        if settings is None or common is None:
            return None
        nodes = self._nodes(module.Settings, section, [key.name for key in ours])
        return PluginConfig(row.kind, row.name, name, settings, common, section, nodes, processors)

    def _say_without_effect(self, section: Section, reasons: Mapping[str, str]) -> None:
        """Of keys that are right, but for which the section's others leave nothing to do."""
        for entry in section.entries:
            reason = reasons.get(entry.key.lower())
            if reason is not None and not _is_off(entry):
                self.notices.append(f"{entry.place}: {entry.key} {entry.value} has no effect: {reason}.")

    def _inherited(self, section: Section) -> Section:
        """An input's with the storage.type of [SERVICE], where inputs have that one."""
        service = self._service
        if section.name != "INPUT" or not service.storage_inherit or section.get("storage.type") is not None:
            return section
        entry = Entry("storage.type", service.storage_type, section.file, section.line)
        return replace(section, entries=(*section.entries, entry))

    def _nodes(self, settings: Any, section: Section, common: list[str]) -> tuple[upstreams.Node, ...]:
        """The receivers of an output's Upstream."""
        asked = section.get("Upstream")
        if (
            section.name != "OUTPUT"
            or asked is None
            or "Upstream" not in [one.name for one in keys_of(settings)]
        ):
            return ()
        groups = upstreams.groups(self._sections)
        found = groups[asked.value] if asked.value in groups else self._upstream_file(asked)
        not_inherited = (*common, "Upstream", "Host", "Port")
        problems = self._draft.problems
        made = [upstreams.node(settings, section, one, not_inherited, problems) for one in found]
        return tuple(one for one in made if one is not None)

    def _upstream_file(self, asked: Entry) -> list[Section]:
        path = os.path.join(os.path.dirname(asked.file), asked.value)
        draft = Draft(problems=self._draft.problems, files=self._draft.files)
        _reader(path)(path, draft, asked.place)
        sections = replace_variables(draft, self._environ)
        upstreams.check(sections, self._draft.problem)
        groups = upstreams.groups(sections)
        if len(groups) != 1:
            self._draft.problem(
                asked.place,
                f"{path} has {len(groups) or 'no'} [UPSTREAM], not one.",
                "An upstream has a file of its own.",
            )
            return []
        (found,) = groups.values()
        if not found:
            self._draft.problem(asked.place, f"{path} has no [NODE].", "Add one for each receiver.")
        return found

    def _check_parser(self, section: Section, names: set[str]) -> None:
        for lines in section.all("multiline.parser") if "multiline.parser" in names else ():
            try:
                check_names(commas.read(lines.value), self.known_multiline_parsers)
            except ValueError as reason:
                self._draft.problem(lines.place, str(reason))
        for entry in section.all("Parser") if "Parser" in names else ():
            self._check_one_parser(entry)
        older = section.get("Multiline") if "Parser_Firstline" in names else None
        if older is not None and not _is_off(older):
            for entry in section.entries:
                if _PARSER_OF_LINES.fullmatch(entry.key):
                    self._check_one_parser(entry)

    def _check_one_parser(self, entry: Entry) -> None:
        """Only parsers that are used: a stock file may have expressions that RE2 can't run."""
        try:
            known = find(entry.value, self.known_parsers)
            # The log core's own are not compiled, so that RE2 need not be loaded for them.
            if framing(known) is None:
                _ = known.pattern
        except ValueError as reason:
            self._draft.problem(entry.place, str(reason))

    def check_whole(self, document: Document) -> None:
        upstreams.check(self._sections, self._draft.problem)
        if not self._draft.problems:
            for kind in ("INPUT", "OUTPUT"):
                if not self._of(kind):
                    self._draft.problem(*_missing(kind, self._draft))
        self._check_names((*document.inputs, *document.all_filters, *document.outputs))

    def _check_names(self, configs: Iterable[PluginConfig]) -> None:
        places: dict[tuple[str, str], str] = {}
        for config in configs:
            first = places.setdefault((config.kind, config.name), config.section.place)
            if first != config.section.place:
                problem = f"the name {config.name} is taken by the {config.kind} at {first}."
                self._draft.problem(config.section.place, problem, "Give it another Alias.")


_OFF = ("off", "false", "no", "0")


def _is_off(entry: Entry) -> bool:
    return entry.value.lower() in _OFF and entry.key.lower() not in foreign.ON_UNLESS_TOLD


_COMMON: dict[str, type[Common]] = {
    "input": InputCommon,
    "processor": ProcessorCommon,
    "filter": FilterCommon,
    "output": OutputCommon,
}


def _is_foreign(kind: str, plugin: str, name: str, own: Iterable[Key]) -> bool:
    ours = {own_name.lower() for key in own for own_name in key.names}
    return name in foreign.unsupported(kind, plugin) and name not in ours


def _only(section: Section, names: Iterable[str]) -> Section:
    wanted = {name.lower() for name in names}
    return replace(section, entries=tuple(one for one in section.entries if one.key.lower() in wanted))


def _missing(kind: str, draft: Draft) -> tuple[str, str, str]:
    what = {"INPUT": "nothing is collected", "OUTPUT": "what is collected goes nowhere"}[kind]
    place = draft.files[0] if draft.files else "command line"
    return place, f"there is no [{kind}], so {what}.", f"Add one [{kind}] at least."
