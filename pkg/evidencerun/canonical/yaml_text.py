# SPDX-License-Identifier: Apache-2.0
"""The page on which the emitter writes: it knows the column and what separation the next token needs."""

from __future__ import annotations

from evidencerun.canonical.yaml_scalar_analysis import BREAKS, is_printable

_NAMED_ESCAPES = {
    "\0": "\\0", "\a": "\\a", "\b": "\\b", "\t": "\\t", "\n": "\\n", "\v": "\\v", "\f": "\\f", "\r": "\\r",
    "\x1b": "\\e", '"': '\\"', "\\": "\\\\", "\u0085": "\\N", "\u2028": "\\L", "\u2029": "\\P",
}  # fmt: skip
_NAMED_IN_FULL = _NAMED_ESCAPES | {"\u00a0": "\\_"}


class Page:
    """Collects the text. `fresh` means that only indentation and indicators stand on the line so far."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._column = 0
        self._separated = True
        self._fresh = True

    def text(self) -> str:
        """Return everything written so far."""
        return "".join(self._parts)

    def _put(self, text: str) -> None:
        self._parts.append(text)
        self._column += len(text)

    def _break(self, char: str = "\n") -> None:
        self._parts.append(char)
        self._column = 0

    def indicator(self, text: str, *, spaced: bool = False, separates: bool = False, keeps_fresh: bool = False) -> None:
        """Write an indicator: `spaced` needs a space before it, `separates` says that none is needed after."""
        if spaced and not self._separated:
            self._put(" ")
        self._put(text)
        self._separated = separates
        self._fresh = self._fresh and keeps_fresh

    def line_at(self, indent: int) -> None:
        """Go to column `indent`, on a new line unless nothing but indicators stands before it on this one."""
        indent = max(indent, 0)
        if not self._fresh or self._column > indent or (self._column == indent and not self._separated):
            self._break()
        if self._column < indent:
            self._put(" " * (indent - self._column))
        self._separated = True
        self._fresh = True

    def plain(self, text: str) -> None:
        """Write a plain scalar; an empty one leaves no space, but ends the fresh part of the line."""
        if text and not self._separated:
            self._put(" ")
        self._put(text)
        self._separated = False
        self._fresh = False

    def single_quoted(self, text: str, indent: int) -> None:
        """Write a single-quoted scalar; line breaks are doubled where one alone would be read as a space."""
        self.indicator("'", spaced=True)
        after_break = False
        for char in text:
            if char in BREAKS:
                if not after_break and char == "\n":
                    self._break()
                self._break(char)
                self._fresh = after_break = True
                continue
            if char == " ":
                self._put(char)
                continue
            if after_break:
                self.line_at(indent)
                after_break = False
            self._put("''" if char == "'" else char)
            self._fresh = False
        self.indicator("'")
        self._fresh = False

    def double_quoted(self, text: str) -> None:
        """Write a double-quoted scalar on one line."""
        # A leading byte order mark makes yaml.v3 escape every character of the scalar.
        if text.startswith("\ufeff"):
            body = "".join(_NAMED_IN_FULL.get(char) or _numbered_escape(char) for char in text)
        else:
            body = "".join(_escaped(char) for char in text)
        self.indicator(f'"{body}"', spaced=True)

    def block_scalar(self, text: str, indicator: str, indent: int) -> None:
        """Write a literal (`|`) or folded (`>`) scalar under `indent`."""
        # The header's line ends with the first line break that is due: a text that begins with one loses it.
        self.indicator(indicator + _block_hints(text), spaced=True, separates=True)
        doubles = indicator == ">" and text.lstrip(BREAKS)[:1] not in ("", " ", "\t")
        after_break, line_starts_blank = True, True
        for char in text:
            if char in BREAKS:
                if doubles and char == "\n" and not after_break and not line_starts_blank:
                    self._break()
                self._break(char)
                self._fresh = after_break = True
                continue
            if after_break:
                self.line_at(indent)
                line_starts_blank = char in " \t"
                after_break = False
            self._put(char)
            self._fresh = False


def _block_hints(text: str) -> str:
    """Return the indentation and chomping hints that yaml.v3 writes after `|` or `>`."""
    if not text:
        return "-"
    # The hint is always the emitter's own width, also where the text stands at another depth.
    indentation = "4" if text[0] == " " or text[0] in BREAKS else ""
    if text[-1] not in BREAKS:
        return indentation + "-"
    return indentation + ("+" if len(text) == 1 or text[-2] in BREAKS else "")


def _escaped(char: str) -> str:
    if char in _NAMED_ESCAPES:
        return _NAMED_ESCAPES[char]
    return char if is_printable(char) else _numbered_escape(char)


def _numbered_escape(char: str) -> str:
    code = ord(char)
    if code <= 0xFF:
        return f"\\x{code:02X}"
    return f"\\u{code:04X}" if code <= 0xFFFF else f"\\U{code:08X}"
