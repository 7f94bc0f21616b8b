"""Fluent Bit's YAML format, read into the same sections as the classic one.

Source: src/config_format/flb_cf_yaml.c. Values are taken as they are written, so
that `On` stays `On`; a list is the same key several times.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import yaml as pyyaml

from collector.config.classic import included_files
from collector.config.kinds import shown
from collector.config.multiline import quoted_rule
from collector.config.schema import nearest
from collector.config.sections import Draft, Entry, Section
from collector.config.variables import FILE

Node = pyyaml.nodes.Node
_PLUGIN_SECTIONS = {"inputs": "INPUT", "filters": "FILTER", "outputs": "OUTPUT"}
_UNSUPPORTED = {
    "customs": "Remove it.",
    "plugins": "Remove it; podwitness loads no plugins from files.",
    "stream_processor": "Remove it; podwitness has no stream processor.",
}

# What an escape in quotes can make and no file, name or pattern can have.
_NO_TEXT = re.compile("[\0\ud800-\udfff]")
_OF_A_VARIABLE = ("name", "value", "uri")
_NO_SIGNALS = ("metrics", "traces", "profiles")


def read(path: str, draft: Draft, asked_by: str) -> None:
    """Reads a file and what it includes into the draft."""
    text = draft.open(path, asked_by)
    if text is None:
        return
    try:
        root = pyyaml.compose(text, Loader=pyyaml.SafeLoader)
    except pyyaml.YAMLError as error:
        _report(path, error, draft)
        return
    except RecursionError:
        draft.problem(path, "the YAML is nested too deeply.")
        return
    except (ValueError, OverflowError) as error:
        # PyYAML's scanner has no eye for them: "\UFFFFFFFF", and a %YAML version of 5000 digits.
        draft.problem(path, f"this is no YAML: a number in it is too large: {error}.")
        return
    if root is not None:
        _File(path, draft).read(root)


def _report(path: str, error: pyyaml.YAMLError, draft: Draft) -> None:
    mark = getattr(error, "problem_mark", None)
    place = path if mark is None else f"{path}:{mark.line + 1}"
    reason = getattr(error, "problem", None) or str(error).partition("\n")[0]
    draft.problem(place, f"this is no YAML: {reason}.", "Tabs can't indent in YAML; check quotes and colons.")


class _File:
    """The reading of one file."""

    def __init__(self, path: str, draft: Draft) -> None:
        self._path = path
        self._draft = draft

    def read(self, root: Node) -> None:
        readers: dict[str, Callable[[str, Node], None]] = {
            "env": self._env,
            "includes": self._includes,
            "multiline_parsers": lambda _, node: self._sections("MULTILINE_PARSER", node),
            "parsers": lambda _, node: self._sections("PARSER", node),
            "pipeline": self._pipeline,
            "service": lambda _, node: self._section("SERVICE", node),
            "upstream_servers": self._upstreams,
        }
        for key, name, value in self._pairs(root, "the file"):
            if name in readers:
                readers[name](name, value)
            else:
                self._unknown(key, name, readers)

    def _problem(self, node: Node, problem: str, remedy: str = "") -> None:
        self._draft.problem(f"{self._path}:{_line(node)}", problem, remedy)

    def _unknown(self, node: Node, name: str, known: dict[str, Callable[[str, Node], None]]) -> None:
        if name in _UNSUPPORTED:
            problem = f"{name} is a part of Fluent Bit that podwitness does not have."
            self._problem(node, problem, _UNSUPPORTED[name])
        else:
            self._problem(node, f"{name} is not a part of a configuration.", nearest(name, known))

    def _pairs(self, node: Node, where: str) -> Iterator[tuple[Node, str, Node]]:
        if isinstance(node, pyyaml.ScalarNode) and not node.value:
            return
        if not isinstance(node, pyyaml.MappingNode):
            self._problem(node, f"{where} must hold keys and values.", "Write `key: value` lines.")
            return
        for key, value in node.value:
            if isinstance(key, pyyaml.ScalarNode) and key.value and not _NO_TEXT.search(key.value):
                yield key, key.value, value
            else:
                self._problem(key, "a key must be a plain name.")

    def _items(self, node: Node, where: str) -> list[Node]:
        if isinstance(node, pyyaml.SequenceNode):
            return list(node.value)
        if not (isinstance(node, pyyaml.ScalarNode) and not node.value):
            self._problem(node, f"{where} must be a list.", "Begin each item with `- `.")
        return []

    def _env(self, name: str, node: Node) -> None:
        if isinstance(node, pyyaml.SequenceNode):
            for item in node.value:
                self._variable(item)
            return
        for key, variable, value in self._pairs(node, name):
            if isinstance(value, pyyaml.ScalarNode) and not _NO_TEXT.search(value.value):
                self._draft.variables.append(Entry(variable, value.value, self._path, _line(key)))
            else:
                self._problem(value, f"the variable {variable} must be a plain value.")

    def _variable(self, node: Node) -> None:
        """Of the list form: a map of name, and value or uri."""
        parts: dict[str, str] = {}
        for key, part, value in self._pairs(node, "a variable"):
            if part == "refresh_interval":
                problem = "refresh_interval has no effect: variables are read at the start and at a reload."
                self._problem(key, problem, "Remove it, and reload when the file changes.")
            elif part not in _OF_A_VARIABLE:
                self._problem(key, f"{part} is not a part of a variable.", nearest(part, _OF_A_VARIABLE))
            elif isinstance(value, pyyaml.ScalarNode) and not _NO_TEXT.search(value.value):
                parts[part] = value.value
        if set(parts) not in ({"name", "value"}, {"name", "uri"}) or not parts.get("uri", FILE).startswith(
            FILE
        ):
            self._problem(node, "a variable must have name, and value or a uri that begins with file://.")
            return
        found = parts.get("value", parts.get("uri", ""))
        self._draft.variables.append(Entry(parts["name"], found, self._path, _line(node)))

    def _includes(self, name: str, node: Node) -> None:
        for item in self._items(node, name):
            if not isinstance(item, pyyaml.ScalarNode) or _NO_TEXT.search(item.value):
                self._problem(item, "an include must be a path.")
                continue
            found = included_files(item.value, self._path, self._draft.files[0])
            if not found:
                problem = f"the include {item.value} names no file."
                self._problem(item, problem, "Relative paths start at the including file.")
            for one in found:
                read(one, self._draft, f"{self._path}:{_line(item)}")

    def _pipeline(self, name: str, node: Node) -> None:
        for key, part, value in self._pairs(node, name):
            if part in _PLUGIN_SECTIONS:
                self._sections(_PLUGIN_SECTIONS[part], value)
            else:
                self._problem(key, f"{part} is not a part of a pipeline.", nearest(part, _PLUGIN_SECTIONS))

    def _sections(self, section: str, node: Node) -> None:
        for item in self._items(node, f"the list of [{section}]"):
            self._section(section, item)

    def _upstreams(self, name: str, node: Node) -> None:
        for item in self._items(node, name):
            self._section("UPSTREAM", item)
            for _, key, value in self._pairs(item, "an upstream"):
                if key == "nodes":
                    self._sections("NODE", value)

    def _section(self, section: str, node: Node) -> None:
        entries: list[Entry] = []
        processors: list[Section] = []
        for key, name, value in self._pairs(node, f"[{section}]"):
            if (section, name.lower()) == ("MULTILINE_PARSER", "rules"):
                entries += self._rules(value)
            elif name.lower() == "processors":
                processors += self._processors(section, key, value)
            elif section == "SERVICE":
                entries += self._nested(name, value)
            elif (section, name.lower()) != ("UPSTREAM", "nodes"):
                entries += self._entries(name, value)
        made = Section(section, self._path, _line(node), tuple(entries), tuple(processors))
        if isinstance(node, pyyaml.MappingNode):
            self._draft.sections.append(made)

    def _processors(self, section: str, key: Node, node: Node) -> Iterator[Section]:
        if section not in ("INPUT", "OUTPUT"):
            self._problem(key, f"[{section}] can't have processors.", "Write them under an input or output.")
            return
        for part, signal, value in self._pairs(node, "processors"):
            if signal in _NO_SIGNALS:
                self._problem(part, f"processors of {signal} have nothing to do: there are only logs.")
            elif signal != "logs":
                self._problem(part, f"{signal} is no list of processors.", "Write them under `logs:`.")
            else:
                yield from map(self._processor, self._items(value, "processors of logs"))

    def _processor(self, node: Node) -> Section:
        entries: list[Entry] = []
        for key, name, value in self._pairs(node, "a processor"):
            if name.lower() == "condition" and isinstance(value, pyyaml.MappingNode):
                problem = "a filter that is a processor takes no condition, as in Fluent Bit."
                self._problem(key, problem, "Use the filter's own, such as Condition of modify.")
            else:
                entries += self._entries(name, value)
        return Section("PROCESSOR", self._path, _line(node), tuple(entries))

    def _rules(self, node: Node) -> Iterator[Entry]:
        """A list of maps; the classic format has a text for each."""
        for item in self._items(node, "the rules"):
            parts = {
                name.lower(): value.value
                for _, name, value in self._pairs(item, "a rule")
                if isinstance(value, pyyaml.ScalarNode)
            }
            if set(parts) != {"state", "regex", "next_state"}:
                self._problem(item, "a rule must have state, regex and next_state, each a plain value.")
                continue
            rule = quoted_rule(parts["state"], parts["regex"], parts["next_state"])
            yield Entry("rule", rule, self._path, _line(item))

    def _nested(self, name: str, node: Node) -> Iterator[Entry]:
        """Fluent Bit's docs write `storage.path` under `storage` too; `telemetry` has no other form."""
        if not isinstance(node, pyyaml.MappingNode):
            yield from self._entries(name, node)
            return
        for _, rest, value in self._pairs(node, name):
            is_whole = rest.lower().startswith(f"{name.lower()}.")
            yield from self._nested(rest if is_whole else f"{name}.{rest}", value)

    def _entries(self, name: str, node: Node) -> Iterator[Entry]:
        for item in node.value if isinstance(node, pyyaml.SequenceNode) else [node]:
            if not isinstance(item, pyyaml.ScalarNode):
                self._problem(item, f"{name} must be a plain value or a list of them.")
            elif not item.value:
                self._problem(item, f"{name} has no value.", "Give it a value, or remove the line.")
            elif _NO_TEXT.search(item.value):
                self._problem(
                    item, f"{name} is {shown(item.value)}: expected text without NUL and surrogates."
                )
            else:
                yield Entry(name, item.value, self._path, _line(item))


def _line(node: Node) -> int:
    return int(node.start_mark.line) + 1
