# SPDX-License-Identifier: Apache-2.0
"""Text from a bundle on its way to a terminal or into Markdown: harmless, on one line, still readable.

Which characters are spelled out is fixed here and not asked of Python's Unicode tables, which differ between versions:
pages in a bundle are compared byte for byte.
"""

from __future__ import annotations

import re
from typing import Final

_SPELLED: Final = re.compile(
    "[\x00-\x1f\x7f-\xa0\xad\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u1680\u180e"
    "\u2000-\u200f\u2028-\u202f\u205f-\u206f\u3000\ud800-\uf8ff\ufeff\ufff0-\uffff\U00010000-\U0010ffff]"
)
"""Controls, blanks other than the space, format characters such as right-to-left overrides, surrogates, private use,
and everything beyond the basic plane."""
_MARKDOWN: Final = re.compile(r"([\\`*_{}\[\]()#+!|<>~&@]|:(?=/)|(?<=www)\.)", re.IGNORECASE)


def plain_text(text: str, *, at_most: int = 400) -> str:
    """Return `text` with harmful characters spelled `\\u{hex}`, cut after `at_most` characters."""
    shown = _SPELLED.sub(lambda found: f"\\u{{{ord(found.group()):x}}}", text[:at_most])
    return shown + "…" if len(text) > at_most else shown


def markdown(text: str, *, at_most: int = 400) -> str:
    """Return `text` so that Markdown shows it as it is: no link, no image, no HTML, no table cell ends."""
    return _MARKDOWN.sub(r"\\\1", plain_text(text, at_most=at_most)).replace("\\<", "&lt;").replace("\\>", "&gt;")
