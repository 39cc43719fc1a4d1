# SPDX-License-Identifier: Apache-2.0
"""The printer's rules, each on a small document. The expected texts are what Go yaml.v3 v3.0.1 prints."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evidencerun.canonical import canonical_yaml

LONG = "k" * 129
RULES = {
    "keys are sorted by their bytes": ("10: a\n9: b\n", "10: a\n9: b\n"),
    "an empty value stays empty": ("a:\nb: ~\n", "a:\nb: ~\n"),
    "an empty value in brackets becomes quotes": ("{a: , b: }\n", "{a: '', b: ''}\n"),
    "spellings stay": ("a: yes\nb: 0x1F\nc: 1_0\n", "a: yes\nb: 0x1F\nc: 1_0\n"),
    "a tab needs double quotes": ("a: 'x\ty'\nb: x\ty\n", 'a: "x\\ty"\nb: "x\\ty"\n'),
    "a plain text over lines becomes literal": ("a: x\n  y\n\n  z\n", "a: |-\n    x y\n    z\n"),
    "the same in brackets becomes double-quoted": ("a: [x\n\n  z]\n", 'a: ["x\\nz"]\n'),
    "a single-quoted text over lines keeps them": ("a: 'x\n\n  y'\n", "a: 'x\n\n    y'\n"),
    "a final break in single quotes": ("a: 'x\n\n  '\n", "a: 'x\n\n'\n"),
    "a literal text is indented by four": ("a: |\n x\n  y\n", "a: |\n    x\n     y\n"),
    "kept final breaks": ("a: |+\n  x\n\nb: c\n", "a: |+\n    x\n\nb: c\n"),
    "a literal text in a sequence goes to the dash plus two": ("- |\n    x\n", "- |\n  x\n"),
    "a hint where the text begins with a blank": ("a: |2\n    x\n  y\n", "a: |4\n      x\n    y\n"),
    "a first empty line is lost": ("a: |+\n\nb: c\n", "a: |4+\nb: c\n"),
    "a folded text gains lines": ("a: >\n  x\n  y\n\n  z\nb: c\n", "a: >\n    x y\n\n    z\n\nb: c\n"),
    "a folded text that begins with a blank gains none": ("a: >2\n   x\n\n  z\n", "a: >4\n     x\n\n    z\n"),
    "an empty literal text becomes quotes": ("a: |\nb: c\n", 'a: ""\nb: c\n'),
    "sequences in sequences share a line": ("-\n  -\n    - a\n  - b\n", "- - - a\n  - b\n"),
    "a key of 128 bytes is a plain key": (f"{'k' * 128}: v\n", f"{'k' * 128}: v\n"),
    "a longer key needs a question mark": (f"{LONG}: v\n", f"? {LONG}\n: v\n"),
    "the length counts bytes": (f"{'é' * 65}: v\n", f"? {'é' * 65}\n: v\n"),
    "a key with a break needs a question mark": ('"a\\nb": v\n', '? "a\\nb"\n: v\n'),
    "in brackets as well": (f"{{{LONG}: v}}\n", f"{{? {LONG} : v}}\n"),
    "a collection as key": ("? [a, b]\n: - c\n", "? [a, b]\n:   - c\n"),
    "an empty collection as key": ("[]: a\n", "[]: a\n"),
    "beyond the basic plane is escaped": ("a: 😀\n", 'a: "\\U0001F600"\n'),
    "special breaks are escaped": ('a: "\\u2028\\u0085\\u2029"\n', 'a: "\\L\\N\\P"\n'),
    "control characters are escaped": ('a: "\\u001f\\u0007\\u007f"\n', 'a: "\\x1F\\a\\x7F"\n'),
    "a leading byte order mark escapes everything": ('a: "\\ufeffx"\n', 'a: "\\uFEFF\\x78"\n'),
    "later it escapes itself": ('a: "x\\ufeff"\n', 'a: "x\\uFEFF"\n'),
    "document markers go": ("%YAML 1.1\n--- # x\na: b\n...\n", "a: b\n"),
    "a byte order mark goes": ("\ufeffa: b\n", "a: b\n"),
    "anchors and aliases stay": ("a: &x {b: c}\nd: *x\n", "a: &x {b: c}\nd: *x\n"),
    "an alias as key": ("- &x k\n- *x : v\n", "- &x k\n- *x: v\n"),
    "tags stay": ("a: !!str 1\nb: !x {c: !<tag:a,2000:y> d}\n", "a: !!str 1\nb: !x {c: !<tag:a,2000:y> d}\n"),
    "a lone exclamation mark goes": ("a: ! x\n", "a: x\n"),
    "a merge key shows its tag": ("<<: {a: b}\n", "!!merge <<: {a: b}\n"),
    "a quoted merge key does not": ('"<<": {a: b}\n', '"<<": {a: b}\n'),
    "a tag is escaped": ("a: !!a%21 b\n", "a: !!a%21 b\n"),
    "a bare document": ("--- x\n", "x\n"),
    "lines are never folded": (f'a: "{"x " * 200}x"\n', f'a: "{"x " * 200}x"\n'),
}


@pytest.mark.parametrize("rule", RULES)
def test_rule(rule: str) -> None:
    given_text, expected = RULES[rule]

    assert canonical_yaml(given_text.encode()).decode() == expected


PLAIN_TEXT = st.text(st.characters(min_codepoint=32, max_codepoint=0xD7FF, exclude_characters="\x7f\u2028\u2029"))
TEXT = PLAIN_TEXT.filter(lambda text: len(text.encode()) <= 100 and not any("\x80" <= char <= "\x9f" for char in text))
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)


@given(JSON_VALUES)
def test_sorted_json_is_a_fixpoint(value: object) -> None:
    text = (json.dumps(value, sort_keys=True, ensure_ascii=False) + "\n").encode()

    assert canonical_yaml(text) == text
