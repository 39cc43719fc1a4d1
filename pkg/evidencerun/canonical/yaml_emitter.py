# SPDX-License-Identifier: Apache-2.0
"""Prints a YAML tree exactly as Go's gopkg.in/yaml.v3 v3.0.1 marshals a node: the form AICR's digests are over.

Written from the observed behaviour of that library and held to it by the differential tests. The rules: block
children go to the next multiple of four, inside a sequence item to the dash plus two; styles are kept where the text
allows them; lines are never folded.
"""

from __future__ import annotations

import string
from typing import Final

from evidencerun.canonical.yaml_nodes import Alias, Mapping, Node, Scalar, ScalarStyle, Sequence
from evidencerun.canonical.yaml_scalar_analysis import StylesAllowed, analyze
from evidencerun.canonical.yaml_text import Page

_INDENT: Final = 4
_SIMPLE_KEY_BYTES: Final = 128
"""A longer key is written with `?`; anchor and tag count."""
_CORE_TAG: Final = "tag:yaml.org,2002:"
_MERGE_TAG: Final = _CORE_TAG + "merge"
_TAG_CHARS: Final = frozenset(string.ascii_letters + string.digits + "-_;/?:@&=+$,.~*'()[]")


def emit(root: Node) -> bytes:
    """Return the UTF-8 bytes of the document, which end in a line feed."""
    emitter = _Emitter()
    emitter.node(root, -1, in_flow=False, as_key=False, in_item=False)
    emitter.page.line_at(0)
    return emitter.page.text().encode()


class _Emitter:
    def __init__(self) -> None:
        self.page = Page()

    def node(self, node: Node, indent: int, *, in_flow: bool, as_key: bool, in_item: bool) -> None:
        """Write one node; `in_item` says that it stands directly behind the dash of a block sequence."""
        match node:
            case Alias():
                self.page.indicator(f"*{node.name}", spaced=True)
            case Scalar():
                self._scalar(node, _deeper(indent, in_item=in_item), in_flow=in_flow, as_key=as_key)
            case Sequence():
                self._properties(node)
                self._sequence(node, indent, in_flow=in_flow, in_item=in_item)
            case Mapping():
                self._properties(node)
                self._mapping(node, indent, in_flow=in_flow, in_item=in_item)

    def _properties(self, node: Scalar | Sequence | Mapping) -> None:
        if node.anchor:
            self.page.indicator(f"&{node.anchor}", spaced=True)
        if tag := _written_tag(node):
            self.page.plain(tag)

    def _scalar(self, node: Scalar, indent: int, *, in_flow: bool, as_key: bool) -> None:
        style = _style_for(node, in_flow=in_flow, as_key=as_key)
        self._properties(node)
        match style:
            case ScalarStyle.PLAIN:
                self.page.plain(node.text)
            case ScalarStyle.SINGLE_QUOTED:
                self.page.single_quoted(node.text, indent)
            case ScalarStyle.DOUBLE_QUOTED:
                self.page.double_quoted(node.text)
            case ScalarStyle.LITERAL | ScalarStyle.FOLDED:
                self.page.block_scalar(node.text, style.value, indent)

    def _sequence(self, node: Sequence, indent: int, *, in_flow: bool, in_item: bool) -> None:
        if in_flow or node.flow or not node.items:
            inner = _deeper_flow(indent, in_item=in_item)
            self.page.indicator("[", spaced=True, separates=True)
            for number, item in enumerate(node.items):
                if number:
                    self.page.indicator(",")
                self.node(item, inner, in_flow=True, as_key=False, in_item=False)
            self.page.indicator("]")
            return
        inner = _deeper_block(indent, in_item=in_item)
        for item in node.items:
            self.page.line_at(inner)
            self.page.indicator("-", spaced=True, keeps_fresh=True)
            self.node(item, inner, in_flow=False, as_key=False, in_item=True)

    def _mapping(self, node: Mapping, indent: int, *, in_flow: bool, in_item: bool) -> None:
        if in_flow or node.flow or not node.pairs:
            self._flow_mapping(node, _deeper_flow(indent, in_item=in_item))
            return
        inner = _deeper_block(indent, in_item=in_item)
        for key, value in node.pairs:
            self.page.line_at(inner)
            if _is_simple_key(key):
                self.node(key, inner, in_flow=False, as_key=True, in_item=False)
                self.page.indicator(":")
            else:
                self.page.indicator("?", spaced=True, keeps_fresh=True)
                self.node(key, inner, in_flow=False, as_key=False, in_item=False)
                self.page.line_at(inner)
                self.page.indicator(":", spaced=True, keeps_fresh=True)
            self.node(value, inner, in_flow=False, as_key=False, in_item=False)

    def _flow_mapping(self, node: Mapping, inner: int) -> None:
        self.page.indicator("{", spaced=True, separates=True)
        for number, (key, value) in enumerate(node.pairs):
            if number:
                self.page.indicator(",")
            simple = _is_simple_key(key)
            if not simple:
                self.page.indicator("?", spaced=True)
            self.node(key, inner, in_flow=True, as_key=simple, in_item=False)
            self.page.indicator(":", spaced=not simple)
            self.node(value, inner, in_flow=True, as_key=False, in_item=False)
        self.page.indicator("}")


def _deeper_block(indent: int, *, in_item: bool) -> int:
    return 0 if indent < 0 else _deeper(indent, in_item=in_item)


def _deeper_flow(indent: int, *, in_item: bool) -> int:
    return _INDENT if indent < 0 else _deeper(indent, in_item=in_item)


def _deeper(indent: int, *, in_item: bool) -> int:
    if in_item:
        return indent + 2
    return _INDENT if indent < 0 else _INDENT * ((indent + _INDENT) // _INDENT)


def _style_for(node: Scalar, *, in_flow: bool, as_key: bool) -> ScalarStyle:
    """Return the style in which the scalar is written: its own where the text and the place allow it."""
    allowed = analyze(node.text)
    style = node.style
    if style is ScalarStyle.PLAIN and "\n" in node.text:
        style = ScalarStyle.LITERAL
    if as_key and allowed.multiline:
        return ScalarStyle.DOUBLE_QUOTED
    if style is ScalarStyle.PLAIN and not _plain_fits(node.text, allowed, in_flow=in_flow, as_key=as_key):
        style = ScalarStyle.SINGLE_QUOTED
    if style is ScalarStyle.SINGLE_QUOTED and not allowed.single_quoted:
        return ScalarStyle.DOUBLE_QUOTED
    if style in (ScalarStyle.LITERAL, ScalarStyle.FOLDED) and (not allowed.block or in_flow or as_key):
        return ScalarStyle.DOUBLE_QUOTED
    return style


def _plain_fits(text: str, allowed: StylesAllowed, *, in_flow: bool, as_key: bool) -> bool:
    if not text and (in_flow or as_key):
        return False
    return allowed.flow_plain if in_flow else allowed.block_plain


def _is_simple_key(node: Node) -> bool:
    """Say whether the key is written as `key:` and not with a question mark."""
    match node:
        case Alias():
            return len(node.name.encode()) <= _SIMPLE_KEY_BYTES
        case Scalar():
            if analyze(node.text).multiline:
                return False
            length = len(node.text.encode())
        case Sequence():
            if node.items:
                return False
            length = 0
        case Mapping():
            if node.pairs:
                return False
            length = 0
    return length + len(node.anchor.encode()) + len(_written_tag(node)) <= _SIMPLE_KEY_BYTES


def _written_tag(node: Scalar | Sequence | Mapping) -> str:
    """Return the tag as it is printed, "" for none."""
    tag = node.tag
    if isinstance(node, Scalar) and not tag and node.style is ScalarStyle.PLAIN and node.text == "<<":
        tag = _MERGE_TAG
    if not tag:
        return ""
    if tag.startswith(_CORE_TAG) and tag != _CORE_TAG:
        return "!!" + _escape_tag(tag.removeprefix(_CORE_TAG))
    if tag.startswith("!") and tag != "!":
        return "!" + _escape_tag(tag[1:])
    return f"!<{_escape_tag(tag)}>"


def _escape_tag(text: str) -> str:
    return "".join(char if char in _TAG_CHARS else "".join(f"%{byte:02X}" for byte in char.encode()) for char in text)
