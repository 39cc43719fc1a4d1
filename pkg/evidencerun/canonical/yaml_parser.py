# SPDX-License-Identifier: Apache-2.0
"""Reads YAML bytes into a tree, within limits, and refuses whatever two readers could understand differently.

The scanner is libyaml (through PyYAML's C parser): yaml.v3 is a port of it, so both take the same texts. Nothing
is constructed from the document but our own nodes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, NoReturn

import yaml
from yaml.events import (
    AliasEvent,
    CollectionEndEvent,
    DocumentEndEvent,
    DocumentStartEvent,
    Event,
    MappingStartEvent,
    ScalarEvent,
    SequenceStartEvent,
    StreamEndEvent,
    StreamStartEvent,
)

from evidencerun import limits
from evidencerun.canonical.yaml_dialects import LINE_STARTING_MARK, readers_differ
from evidencerun.canonical.yaml_nodes import (
    Alias,
    Mapping,
    Node,
    Scalar,
    ScalarStyle,
    Sequence,
    key_text,
)
from evidencerun.errors import InputError, shortened

try:
    from yaml.cyaml import CParser  # type: ignore[attr-defined]  # the stubs do not export it
except ImportError as fault:
    # The pure Python scanner takes other texts than Go's library, so it is no substitute.
    raise ImportError("PyYAML is installed without libyaml; install a build that has it") from fault

_STYLES: Final = {style.value: style for style in ScalarStyle}
_WIDE_ENCODINGS: Final = (b"\xff\xfe", b"\xfe\xff")


@dataclass(frozen=True, slots=True, kw_only=True)
class YamlLimits:
    """How much of a document is read: bytes, nodes, nesting, and UTF-8 bytes of one scalar."""

    max_bytes: int = limits.RECIPE_MAX
    max_nodes: int = limits.YAML_NODES_MAX
    max_depth: int = limits.YAML_DEPTH_MAX
    max_scalar: int = limits.YAML_SCALAR_MAX


def parse_tree(text: bytes, *, what: str, bounds: YamlLimits, references: bool) -> Node:
    """Return the tree of the only document in `text`.

    `references` admits anchors, aliases and tags (kept as they are, never expanded); without it they are
    refused. Duplicate keys (by text) are always refused. `what` names the document in errors.

    Raises:
        InputError: the text is no YAML, is too large, or breaks a rule above; with line and column.

    """
    if len(text) > bounds.max_bytes:
        _refuse(
            "E1101",
            f"{what} is too long",
            "",
            f"{len(text)} bytes found, at most {bounds.max_bytes} are read",
        )
    if text.startswith(_WIDE_ENCODINGS):
        _refuse(
            "E1102",
            f"{what} is not UTF-8",
            "byte 0",
            "a UTF-16 byte order mark was found",
            "save it as UTF-8",
        )
    try:
        # The parser's positions count characters and leave a byte order mark out.
        source = text.decode("utf-8-sig")
    except UnicodeDecodeError as fault:
        _refuse("E1102", f"{what} is not UTF-8", f"byte {fault.start}", fault.reason, "save it as UTF-8")
    if found := LINE_STARTING_MARK.search(source):
        _refuse(
            "E1117",
            f"{what} has a byte order mark inside",
            f"character {found.end()}",
            "YAML readers differ on it",
            "remove it",
        )
    return _Composer(source, what, bounds, references).document()


class _Composer:
    """Turns the parser's events into nodes, counting as it goes."""

    def __init__(self, source: str, what: str, bounds: YamlLimits, references: bool) -> None:
        self._parser: Any = CParser(source)
        self._source = source
        self._end = 0
        self._what = what
        self._bounds = bounds
        self._references = references
        self._nodes = 0
        self._anchors: set[str] = set()

    def document(self) -> Node:
        self._expect(StreamStartEvent)
        event = self._next()
        if isinstance(event, StreamEndEvent):
            _refuse("E1103", f"{self._what} is empty", "line 1, column 1", "no YAML document was found")
        assert isinstance(event, DocumentStartEvent)
        if event.version not in (None, (1, 1)):
            self._refuse_at(
                event,
                "E1104",
                "is of another YAML version",
                "the directive must say %YAML 1.1 or be left out",
            )
        root = self._node(self._next(), 0, in_flow=False)
        self._expect(DocumentEndEvent)
        event = self._next()
        if not isinstance(event, StreamEndEvent):
            self._refuse_at(event, "E1105", "holds more than one document", "exactly one is expected", "split it")
        return root

    def _next(self) -> Event:
        try:
            event = self._parser.get_event()
        except yaml.MarkedYAMLError as fault:
            mark = fault.problem_mark or fault.context_mark
            where = f"line {mark.line + 1}, column {mark.column + 1}" if mark else ""
            cause = " ".join(filter(None, (fault.context, fault.problem)))
            _refuse("E1106", f"{self._what} is no valid YAML", where, cause)
        except yaml.YAMLError as fault:
            cause = str(fault).splitlines()[0] if str(fault) else "unreadable"
            position = getattr(fault, "position", None)
            where = "" if position is None else f"character {position}"
            _refuse("E1106", f"{self._what} is no valid YAML", where, cause)
        assert isinstance(event, Event)
        self._end = _index(event.end_mark)
        return event

    def _expect(self, kind: type[Event]) -> None:
        event = self._next()
        assert isinstance(event, kind)

    def _node(self, event: Event, depth: int, in_flow: bool) -> Node:
        self._nodes += 1
        if self._nodes > self._bounds.max_nodes:
            self._refuse_at(event, "E1107", "has too many nodes", f"at most {self._bounds.max_nodes} are read")
        if depth > self._bounds.max_depth:
            self._refuse_at(event, "E1108", "is nested too deeply", f"at most {self._bounds.max_depth} levels are read")
        if isinstance(event, ScalarEvent):
            return self._scalar(event, in_flow)
        if isinstance(event, AliasEvent):
            return self._alias(event)
        tag, anchor = self._properties(event)
        assert isinstance(event, SequenceStartEvent | MappingStartEvent)
        line, column = _place(event)
        flow = bool(event.flow_style)
        if isinstance(event, SequenceStartEvent):
            items = self._items(depth, flow)
            return Sequence(items=items, flow=flow, line=line, column=column, tag=tag, anchor=anchor)
        pairs = self._pairs(depth, flow)
        return Mapping(pairs=pairs, flow=flow, line=line, column=column, tag=tag, anchor=anchor)

    def _items(self, depth: int, in_flow: bool) -> tuple[Node, ...]:
        items = []
        while not isinstance(event := self._next(), CollectionEndEvent):
            items.append(self._node(event, depth + 1, in_flow))
        return tuple(items)

    def _pairs(self, depth: int, in_flow: bool) -> tuple[tuple[Node, Node], ...]:
        pairs = []
        seen: dict[str, Node] = {}
        while not isinstance(event := self._next(), CollectionEndEvent):
            key = self._node(event, depth + 1, in_flow)
            text = key_text(key)
            if text in seen and isinstance(key, Sequence | Mapping):
                self._refuse_at(event, "E1109", "has a second key without text", "the order of such keys is undefined")
            if text in seen:
                self._refuse_at(
                    event, "E1109", f"has the key {shortened(text)!a} twice", f"it stands at {seen[text].mark} as well",
                    "keep one of them",
                )  # fmt: skip
            if isinstance(key, Sequence | Mapping) and "?" in self._source[_index(event.start_mark) : self._end]:
                self._refuse_at(
                    event,
                    "E1117",
                    "has a key that YAML readers understand differently",
                    "it is a collection that holds a question mark",
                )
            seen[text] = key
            pairs.append((key, self._node(self._next(), depth + 1, in_flow)))
        return tuple(pairs)

    def _scalar(self, event: ScalarEvent, in_flow: bool) -> Scalar:
        text = event.value
        if quarrel := readers_differ(event, self._source, in_flow=in_flow):
            self._refuse_at(event, "E1117", "has a text that YAML readers understand differently", *quarrel)
        if len(text) > self._bounds.max_scalar or len(text.encode()) > self._bounds.max_scalar:
            self._refuse_at(event, "E1110", "has a value that is too long", f"at most {self._bounds.max_scalar} bytes")
        tag, anchor = self._properties(event)
        style = _STYLES[event.style or ""]
        if text == "<<" and style is ScalarStyle.PLAIN and not self._references:
            self._refuse_at(event, "E1116", "uses a merge key", "<< is not read here", "write the keys out")
        line, column = _place(event)
        return Scalar(text=text, style=style, line=line, column=column, tag=tag, anchor=anchor)

    def _alias(self, event: AliasEvent) -> Alias:
        if not self._references:
            self._refuse_at(
                event, "E1111", f"uses the alias *{event.anchor}", "aliases are not read here", "write it out"
            )
        if event.anchor not in self._anchors:
            self._refuse_at(event, "E1112", f"uses the alias *{event.anchor}", "nothing above has that anchor")
        line, column = _place(event)
        return Alias(name=event.anchor, line=line, column=column)

    def _properties(self, event: Any) -> tuple[str, str]:
        """Return the tag that was written and the anchor, "" for none."""
        tag = "" if event.tag in (None, "!") else str(event.tag)
        anchor = str(event.anchor or "")
        if anchor:
            self._anchors.add(anchor)
        if not self._references and anchor:
            self._refuse_at(event, "E1111", f"sets the anchor &{anchor}", "anchors are not read here", "leave it out")
        if not self._references and event.tag is not None:
            self._refuse_at(
                event,
                "E1113",
                f"uses the tag {shortened(str(event.tag))!a}",
                "tags are not read here",
                "leave it out",
            )
        return tag, anchor

    def _refuse_at(self, event: Event, code: str, what: str, why: str, fix: str = "") -> NoReturn:
        _refuse(code, f"{self._what} {what}", "line {}, column {}".format(*_place(event)), why, fix)


def _refuse(code: str, what: str, where: str, why: str, fix: str = "") -> NoReturn:
    raise InputError(code, what, where=where, why=why, fix=fix)


def _index(mark: Any) -> int:
    return int(mark.index)


def _place(event: Any) -> tuple[int, int]:
    """Return line and column where the event begins, from 1."""
    mark = event.start_mark
    return mark.line + 1, mark.column + 1
