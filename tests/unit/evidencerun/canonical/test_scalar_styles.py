# SPDX-License-Identifier: Apache-2.0
"""Which styles can carry which text: one row for each rule of libyaml's analysis, with yaml.v3's changes."""

from __future__ import annotations

import pytest

from evidencerun.canonical.yaml_scalar_analysis import StylesAllowed, analyze

# Plain in brackets, plain, single-quoted, literal or folded; "-" for what cannot carry the text.
STYLES = {
    "": "-PS-",
    "x": "FPSB",
    "a b": "FPSB",
    "é": "FPSB",
    "a#b": "FPSB",
    "-x": "FPSB",
    "--": "FPSB",
    # indicators in front
    "---": "--SB",
    "---x": "--SB",
    "...": "--SB",
    "-": "--SB",
    "- x": "--SB",
    "?": "--SB",
    "? x": "--SB",
    "?x": "-PSB",
    ":": "--SB",
    ": x": "--SB",
    ":x": "-PSB",
    **{f"{indicator}x": "--SB" for indicator in "#,[]{}&*!|>'\"%@`"},
    # indicators inside
    **{f"x{indicator}x": "-PSB" for indicator in ",?[]{}:"},
    **{f"x{indicator}x": "FPSB" for indicator in "&*!|>'\"%@`-"},
    "x:": "--SB",
    "x: x": "--SB",
    "x #": "--SB",
    "x #x": "--SB",
    # blanks and breaks
    " x": "--SB",
    "x ": "--S-",
    "\nx": "--SB",
    "x\n": "--SB",
    "x\ny": "--SB",
    "x \ny": "----",
    "x\n y": "---B",
    "\u2028x": "--SB",
    "x\u2029": "--SB",
    "x\u0085y": "----",
    # what has to be escaped
    "x\ty": "---B",
    "\x01": "----",
    "x\x7f": "----",
    "\ufeffx": "----",
    "\U0001f600": "----",
}
MULTILINE = {text for text in STYLES if any(char in text for char in "\n\u0085\u2028\u2029")}


def letters(found: StylesAllowed) -> str:
    allowed = (found.flow_plain, found.block_plain, found.single_quoted, found.block)
    return "".join(letter if may else "-" for letter, may in zip("FPSB", allowed, strict=True))


@pytest.mark.parametrize("text", STYLES, ids=ascii)
def test_styles_that_can_carry_a_text(text: str) -> None:
    assert letters(analyze(text)) == STYLES[text]


@pytest.mark.parametrize("text", STYLES, ids=ascii)
def test_what_spans_lines(text: str) -> None:
    assert analyze(text).multiline is (text in MULTILINE)
