# SPDX-License-Identifier: Apache-2.0
"""Text from a bundle on its way to a terminal or into Markdown: harmless, on one line, still readable."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

_MARKDOWN: Final = re.compile(r"([\\`*_{}\[\]()#+!|<>~&@]|:(?=/))")
_UNPRINTABLE: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Controls, format characters (right-to-left overrides, joiners), surrogates, unassigned, line separators."""


def plain_text(text: str, *, at_most: int = 400) -> str:
    """Return `text` with every unprintable character spelled `\\u{hex}`, cut after `at_most` characters."""
    shown = "".join(_spelled(char) for char in text[:at_most])
    return shown + "…" if len(text) > at_most else shown


def markdown(text: str, *, at_most: int = 400) -> str:
    """Return `text` so that Markdown shows it as it is: no link, no image, no HTML, no table cell ends."""
    return _MARKDOWN.sub(r"\\\1", plain_text(text, at_most=at_most)).replace("\\<", "&lt;").replace("\\>", "&gt;")


def _spelled(char: str) -> str:
    if char == " " or ("!" <= char <= "~"):
        return char
    return f"\\u{{{ord(char):x}}}" if unicodedata.category(char) in _UNPRINTABLE else char
