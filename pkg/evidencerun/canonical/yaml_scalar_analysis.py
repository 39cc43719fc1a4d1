# SPDX-License-Identifier: Apache-2.0
"""Which styles can carry a given text: the conditions under which yaml.v3 keeps or changes a scalar's style.

The rules are libyaml's, with yaml.v3's changes (a tab forbids plain and single-quoted text), as the differential
tests show them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

BREAKS: Final = "\r\n\u0085\u2028\u2029"
"""What counts as a line break."""
_BLANK_OR_BREAK: Final = frozenset(" \t" + BREAKS)
_UNPRINTABLE: Final = re.compile(
    # Everything outside this set is escaped; yaml.v3 takes nothing above the basic plane as printable.
    "[^\t\n\u0020-\u007e\u00a0-\ud7ff\ue000-\ufefe\uff00-\ufffd]"
)
_HAS_BREAK: Final = re.compile(f"[{BREAKS}]")
_SPACE_THEN_BREAK: Final = re.compile(f" [{BREAKS}]")
_BREAK_THEN_SPACE: Final = re.compile(f"[{BREAKS}] ")
_FLOW_INDICATOR: Final = re.compile("(?<!^)[,?\\[\\]{}:]")
_COLON_BEFORE_BLANK: Final = re.compile(f"(?<!^):(?=[ \t{BREAKS}]|\\Z)")
_HASH_AFTER_BLANK: Final = re.compile(f"(?<=[ \t{BREAKS}])#")
_ALWAYS_INDICATORS: Final = frozenset("#,[]{}&*!|>'\"%@`")


@dataclass(frozen=True, slots=True, kw_only=True)
class StylesAllowed:
    """What `analyze` found: whether the text spans lines, and which styles can carry it."""

    multiline: bool
    flow_plain: bool
    block_plain: bool
    single_quoted: bool
    block: bool


_EMPTY: Final = StylesAllowed(multiline=False, flow_plain=False, block_plain=True, single_quoted=True, block=False)


def is_printable(char: str) -> bool:
    """Say whether yaml.v3 writes the character as it is in double quotes (breaks are escaped anyway)."""
    return _UNPRINTABLE.match(char) is None


def analyze(text: str) -> StylesAllowed:
    """Return which styles can carry `text`."""
    if not text:
        return _EMPTY
    multiline = _HAS_BREAK.search(text) is not None
    special = _UNPRINTABLE.search(text) is not None
    space_break = _SPACE_THEN_BREAK.search(text) is not None
    break_space = _BREAK_THEN_SPACE.search(text) is not None
    edges = text[0] == " " or text[0] in BREAKS or text[-1] == " " or text[-1] in BREAKS
    unquotable = space_break or special or "\t" in text
    never_plain = multiline or edges or break_space or unquotable
    flow_indicator, block_indicator = _indicators(text)
    return StylesAllowed(
        multiline=multiline,
        flow_plain=not (never_plain or flow_indicator),
        block_plain=not (never_plain or block_indicator),
        single_quoted=not (unquotable or break_space),
        block=not (special or space_break or text[-1] == " "),
    )


def _indicators(text: str) -> tuple[bool, bool]:
    """Return whether indicators forbid plain text in flow context and in block context."""
    if text.startswith(("---", "...")) or text[0] in _ALWAYS_INDICATORS:
        return True, True
    blank_second = len(text) == 1 or text[1] in _BLANK_OR_BREAK
    in_block = (text[0] in "?:-" and blank_second) or bool(
        _COLON_BEFORE_BLANK.search(text) or _HASH_AFTER_BLANK.search(text)
    )
    in_flow = in_block or text[0] in "?:" or _FLOW_INDICATOR.search(text) is not None
    return in_flow, in_block
