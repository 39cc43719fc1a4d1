# SPDX-License-Identifier: Apache-2.0
"""Texts that libyaml 0.2 and Go yaml.v3 (a port of an older libyaml) read differently, found by the differential tests.

What yaml.v3 refuses or takes otherwise has no canonical form, so it is refused here as well.
"""

from __future__ import annotations

import re
from typing import Any, Final

from yaml.events import ScalarEvent

_ESCAPED_SLASH: Final = re.compile(r"(?<!\\)(?:\\\\)*\\/")

LINE_STARTING_MARK: Final = re.compile("(?:^|[\r\n\u0085\u2028\u2029])\ufeff")
"""A byte order mark at the start of a line: libyaml skips it, yaml.v3 takes it as text."""


def readers_differ(event: ScalarEvent, document: str, *, in_flow: bool) -> tuple[str, str] | None:
    """Return why the scalar is read differently, and what to do; None if it is not."""
    text = event.value
    if event.style == '"':
        if "/" in text and _ESCAPED_SLASH.search(_source(event, document)):
            return r"the escape \/ is not known to Go's YAML library", "write the slash without a backslash"
        return None
    if not in_flow or event.style:
        return None
    if event.tag and not text and _source(event, document).endswith(","):
        return "a comma follows a tag inside brackets", "put a blank before the comma"
    if "?" in text[1:]:
        return "a question mark stands in unquoted text inside brackets", "quote the text"
    return None


def _source(event: Any, document: str) -> str:
    """Return the scalar as it is written, and the one character after it."""
    return document[event.start_mark.index : event.end_mark.index + 1]
