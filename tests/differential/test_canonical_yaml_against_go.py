# SPDX-License-Identifier: Apache-2.0
"""Our canonical form against Go yaml.v3's, on generated documents; one row per rule of the form.

Every document must give the same bytes, or be refused by a strictness rule of ours or because yaml.v3 refuses it.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import pytest

from evidencerun.canonical import RecipePredicate, canonical_recipe_digest, canonical_yaml, sha256_hex
from evidencerun.errors import InputError

PER_ROW = 1200
MUTATED_PER_ROW = 400
COMPARED_PER_ROW = 500
STRICTNESS = {"E1105", "E1109", "E1117"}
"""Several documents, duplicate keys, texts on which readers differ: our own rules."""
LIBYAML_REFUSES = re.compile(
    r"expected <document start>|while (scanning|parsing) a tag|unexpected ':'|unknown escape|cannot start any token"
)
"""What the scanner refuses as no YAML and yaml.v3 lets through: text behind the end of the document, flow indicators in
tags, a colon before a bracket, the escape \\', tabs that indent."""

WORDS = (
    *"""
a b kind name 10 9 -1 true yes No ~ null 0x1F 0o17 1e3 .5 1_000 2024-01-02 v1.2 a:b a#b é 中文 x-y -x
?x :x = << < k8s.io/x 100% @x `x` *x &x !x %x |x >x [x {x ] } #x 'x "x --- ... ? - : a: x! x| x? x{
x] x} // =x ~x ,x x,y a?b
""".split(),  # noqa: SIM905 - a list literal of a hundred words cannot be read
)
TEXTS = (
    *WORDS, "", "x y", "a, b", "- x", "? x", "x: y", "x #y", "--- x", " lead", "trail ", "tab\there", "it's", 'say "x"',
    "back\\slash", "nb\u00a0sp", "\u200b", "a\nb", "a\n\nb", "\na", "a\n", " a\n b", "a \nb", "a\n b", "a\n\n", "\n",
    "\n\n", "a\tb\nc", "a\r\nb", "a\rb", "a:\tb", "a\t#b", "- - x", "a\nb: c\n# d\n", "#!/bin/sh\nset -e\n\necho x\n",
)  # fmt: skip
RARE = (
    "\u2028", "\u0085", "\ufeffbom", "😀", "\x7f", "\x01", "\x1f", "\u2028a", "a\u2028b", "x\ufeffy", "a\u2029",
    "\ue000", "\ufffd", "\uffff", "\ud7ff", "a\u0085b", "é😀", "\x00", "\x1b[0m",
)  # fmt: skip
LONG = tuple(char * count for char in ("x", "é") for count in (63, 64, 65, 127, 128, 129, 140))
PLAIN = (
    *"""
    a b kind name 10 9 -1 true yes No ~ null 0x1F 1e3 .5 2024-01-02 v1.2 a:b a#b é 中文 x-y -x 100% = < //
    x! x| k8s.io/x it's << a"b
    """.split(),  # noqa: SIM905 - a list literal of a hundred words cannot be read
    "x y", "nb\u00a0sp", "",
)  # fmt: skip
PLAIN_IN_BLOCKS = ("! x", "?x", ":x", "x{", "x}", "x]", "a, b", "a?b", "http://x/y?z=1&b", "x [y]", "a,b")
LINES = (
    "text", "key: value", "# no comment", "é 中", "- x", "😀", "nbsp\u00a0", "a\tb", "trail\t", "{{ x }}", " one",
    "end ", "\ttab", "", "  more", "  more # x", "'q'", "...x",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Mix:
    """How often what occurs, from 0 to 1."""

    comment: float = 0.05
    flow: float = 0.1
    block: float = 0.05
    folded: float = 0.0
    quoted: float = 0.3
    deep: float = 0.5
    anchor: float = 0.0
    tag: float = 0.0
    question: float = 0.0
    compact: float = 0.3
    marker: float = 0.0
    root: tuple[str, ...] = ("map", "map", "seq")
    texts: tuple[str, ...] = TEXTS
    plain: tuple[str, ...] = PLAIN
    keys: tuple[str, ...] = field(default=())
    line_end: str = "\n"


ROWS = {
    "comments": Mix(comment=0.4),
    "quoting styles": Mix(quoted=0.9),
    "plain spellings": Mix(quoted=0.0),
    "flow collections": Mix(flow=0.6, root=("map", "flow")),
    "sequences under keys": Mix(deep=0.7, compact=0.1, root=("map",)),
    "mappings in sequences": Mix(deep=0.7, compact=0.8, root=("seq",)),
    "deep nesting": Mix(deep=0.85, compact=0.5, quoted=0.1),
    "long and odd keys": Mix(keys=(*LONG, *TEXTS), texts=(*LONG, *TEXTS), question=0.1, flow=0.3),
    "escapes": Mix(quoted=0.9, texts=(*TEXTS, *RARE)),
    "beyond the basic plane": Mix(
        quoted=0.5,
        texts=("😀", "a😀b", "\U0001d4b3", "😀\n", "\U0010fffd"),
        plain=("😀", "a \U0001d4b3", "x", "y", "1")
    ),
    "CRLF": Mix(line_end="\r\n", comment=0.2, quoted=0.5),
    "document markers": Mix(marker=0.9, root=("map", "seq", "flow", "scalar")),
    "anchors and aliases": Mix(anchor=0.3, flow=0.2),
    "tags": Mix(tag=0.3, flow=0.2, anchor=0.1),
    "literal block scalars": Mix(block=0.6, root=("map", "seq", "block")),
    "folded block scalars": Mix(block=0.6, folded=0.9, root=("map", "seq", "block")),
    "everything": Mix(
        comment=0.15, flow=0.2, block=0.1, folded=0.4, quoted=0.4, anchor=0.05, tag=0.03, question=0.03, marker=0.05,
        root=("map", "seq", "flow", "scalar", "block"), texts=(*TEXTS, *RARE, *LONG), keys=(*LONG, *TEXTS, *RARE),
    ),
}  # fmt: skip


class Documents:
    """Writes random YAML documents of one mix; the same seed gives the same documents."""

    def __init__(self, mix: Mix, seed: str) -> None:
        self._mix = mix
        self._random = random.Random(seed)
        self._anchors: list[str] = []

    def document(self) -> bytes:
        self._anchors = []
        start = self._random.choice(("---\n", "--- # x\n", "%YAML 1.1\n---\n", "\ufeff", "# top\n\n"))
        text = start if self._chance(self._mix.marker) else ""
        match self._random.choice(self._mix.root):
            case "map":
                text += self._mapping(self._random.choice((0, 0, 0, 2)), 0)
            case "seq":
                text += self._sequence(self._random.choice((0, 0, 1)), 0)
            case "flow":
                text += self._flow(0) + "\n"
            case "block":
                text = "--- " + self._block_scalar(0)
            case _:
                text += self._scalar() + "\n"
        if self._chance(self._mix.marker):
            text += "...\n"
        return text.replace("\n", self._mix.line_end).encode("utf-8", "surrogatepass")

    def _chance(self, share: float) -> bool:
        return self._random.random() < share

    def _line_end(self) -> str:
        text = self._random.choice((" # c", " #", "  # é: x", " # - x")) if self._chance(self._mix.comment) else ""
        text += "\n"
        while self._chance(self._mix.comment):
            text += self._random.choice(("# head\n", "  # in\n", "\n", "      # deep: x\n", "#\n", "   \n"))
        return text

    def _properties(self) -> str:
        text = ""
        if self._chance(self._mix.tag):
            tags = ("!!str ", "!t ", "! ", "!<tag:x.org,2000:y> ", "!!map ", "!!a%21 ", "!a%20b%C3%A9 ", "!!int ")
            text += self._random.choice(tags)
        if self._chance(self._mix.anchor):
            self._anchors.append(f"a{len(self._anchors)}")
            text += f"&{self._anchors[-1]} "
        return text

    def _scalar(self, *, key: bool = False, in_flow: bool = False) -> str:
        if self._anchors and self._chance(self._mix.anchor):
            return f"*{self._random.choice(self._anchors)} "
        properties = self._properties()
        if not self._chance(self._mix.quoted):
            choice = self._mix.plain if in_flow or key else (*self._mix.plain, *PLAIN_IN_BLOCKS)
            return properties + (self._random.choice(choice) or ("k" if key else ""))
        text = self._random.choice(self._mix.texts)
        fits_single = not set(text) & set("\n\r\x00\x01\x1b\x1f\x7f\uffff")
        if fits_single and self._chance(0.5):
            return properties + "'" + text.replace("'", "''") + "'"
        return properties + self._double_quoted(text)

    def _double_quoted(self, text: str) -> str:
        named = {"\n": "\\n", "\r": "\\r", "\t": "\\t", "\u0085": "\\N", "\u2028": "\\L", "\u2029": "\\P", "\0": "\\0"}
        found = []
        for char in text:
            code = ord(char)
            must = char in named or code < 32 or char in "\x7f\ufeff\uffff"
            if char in '"\\':
                found.append("\\" + char)
            elif not must and not self._chance(0.03):
                found.append(char)
            elif char in named and self._chance(0.5):
                found.append(named[char])
            elif code < 0x100:
                found.append(f"\\x{code:02x}")
            else:
                found.append(f"\\u{code:04X}" if code < 0x10000 else f"\\U{code:08x}")
        if self._chance(0.05):
            escape = self._random.choice(
                ("\\a", "\\e", "\\_", "\\/", "\\v", "\\ ", "\\u001f", "\\ud83d\\ude00", "\\\n   ")
            )
            found.insert(self._random.randrange(len(found) + 1), escape)
        return f'"{"".join(found)}"'

    def _flow(self, depth: int) -> str:
        if depth > 2 or self._chance(0.35):
            return self._scalar(in_flow=True)
        parts = []
        is_list = self._chance(0.5)
        for _ in range(self._random.choice((0, 1, 1, 2, 3))):
            gap = self._random.choice(("", " ", " ", " ", "\n    "))
            question = "? " if self._chance(self._mix.question) else ""
            key = "" if is_list and self._chance(0.8) else question + self._scalar(key=True, in_flow=True) + ": "
            parts.append(gap + key + self._flow(depth + 1))
        tail = "," if parts and self._chance(0.1) else ""
        inner = ",".join(parts) + tail
        return f"[{inner}]" if is_list else f"{{{inner}}}"

    def _block_scalar(self, indent: int) -> str:
        width = self._random.choice((1, 2, 2, 4, 5))
        header = ">" if self._chance(self._mix.folded) else "|"
        if self._chance(0.15):
            header += str(width)
        header += self._random.choice(("", "", "-", "+"))
        text = self._properties() + header + (" # c" if self._chance(self._mix.comment) else "") + "\n"
        for _ in range(self._random.choice((0, 1, 2, 3, 5))):
            line = self._random.choice(LINES)
            text += (" " * (indent + width) + line if line else "") + "\n"
        return text

    def _node(self, indent: int, depth: int, *, in_item: bool = False) -> str:
        """Return what follows `key:` or `-`, with the line end."""
        dice = self._random.random()
        if dice < self._mix.block:
            return " " + self._block_scalar(indent)
        if dice < self._mix.block + self._mix.flow:
            return " " + self._flow(0) + self._line_end()
        if depth >= 8 or not self._chance(self._mix.deep):
            return " " + self._scalar() + self._line_end()
        properties = self._properties().rstrip()
        head = (" " + properties if properties else "") + self._line_end()
        inner = indent + self._random.choice((1, 2, 2, 2, 3, 4))
        if self._chance(0.5):
            inner = indent if not in_item and self._chance(0.4) else inner
            return head + self._sequence(inner, depth + 1)
        return head + self._mapping(inner, depth + 1)

    def _key(self) -> str:
        if self._mix.keys and self._chance(0.5):
            return self._double_quoted(self._random.choice(self._mix.keys))
        return f"k{self._random.randrange(1000)}" if self._chance(0.7) else self._scalar(key=True)

    def _mapping(self, indent: int, depth: int) -> str:
        text = ""
        for _ in range(self._random.choice((1, 1, 2, 3))):
            if self._chance(self._mix.question):
                text += f"{' ' * indent}?{self._node(indent, depth + 1)}{' ' * indent}:{self._node(indent, depth + 1)}"
            else:
                text += f"{' ' * indent}{self._key()}:{self._node(indent, depth + 1)}"
        return text

    def _sequence(self, indent: int, depth: int) -> str:
        text = ""
        for _ in range(self._random.choice((1, 1, 2, 3))):
            if depth < 8 and self._chance(self._mix.compact):
                gap = self._random.choice((1, 1, 1, 2, 3))
                write = self._mapping if self._chance(0.6) else self._sequence
                text += f"{' ' * indent}-{' ' * gap}{write(indent + 1 + gap, depth + 1).lstrip(' ')}"
            else:
                text += f"{' ' * indent}-{self._node(indent, depth + 1, in_item=True)}"
        return text


def mutated(document: bytes, dice: random.Random) -> bytes:
    """Return the document with one to three characters added, removed or changed."""
    text = list(document.decode("utf-8", "surrogatepass"))
    for _ in range(dice.randrange(1, 4)):
        place = dice.randrange(len(text)) if text else 0
        addition = dice.choice((*" \n\t-?:,[]{}#&*!|>'\"%@`\\xk0\r", "\n  ", "- ", ": ", "\u2028", "\u0085", "\ufeff"))
        match dice.choice(("add", "add", "remove", "change")):
            case "add":
                text.insert(place, addition)
            case "remove":
                del text[place : place + 1]
            case _:
                text[place : place + 1] = addition
    return "".join(text).encode("utf-8", "surrogatepass")


def verdict(document: bytes, answer: Any) -> str:
    """Return same, refused by both, strict (refused by a rule of ours), or what is wrong."""
    try:
        ours = canonical_yaml(document)
    except InputError as refusal:
        if answer.status == "error":
            return "refused by both"
        scanner = refusal.code == "E1106" and LIBYAML_REFUSES.search(refusal.why)
        return "strict" if scanner or refusal.code in STRICTNESS else f"refused without a rule: {refusal}"
    if answer.status == "error":
        return f"accepted, yaml.v3 says {answer.body.decode()}"
    if ours != answer.body:
        return f"differs: ours {ours!r}, theirs {answer.body!r}"
    return "same"


def compare(documents: list[bytes], yaml_oracle: Any) -> Counter[str]:
    tally: Counter[str] = Counter()
    for document, answer in zip(documents, yaml_oracle.ask(documents), strict=True):
        found = verdict(document, answer)
        assert found in ("same", "refused by both", "strict"), f"{document!r}: {found}"
        tally[found] += 1
        tally["no fixpoint"] += found == "same" and answer.status == "moves"
    return tally


@pytest.mark.go
@pytest.mark.parametrize("row", ROWS)
def test_generated_documents_give_the_same_bytes(row: str, yaml_oracle: Any, tallies: dict[str, Counter[str]]) -> None:
    writer = Documents(ROWS[row], row)
    tallies[row] = tally = compare([writer.document() for _ in range(PER_ROW)], yaml_oracle)
    assert tally["same"] >= COMPARED_PER_ROW


@pytest.mark.go
@pytest.mark.parametrize("row", ROWS)
def test_damaged_documents_are_never_read_otherwise(
    row: str, yaml_oracle: Any, tallies: dict[str, Counter[str]]
) -> None:
    writer, dice = Documents(ROWS[row], f"damaged {row}"), random.Random(row)
    documents = [mutated(writer.document(), dice) for _ in range(MUTATED_PER_ROW)]
    tallies[f"{row}, damaged"] = tally = compare(documents, yaml_oracle)
    assert tally["same"] > 0


@pytest.mark.go
def test_recipe_digest_is_over_the_stripped_form(yaml_oracle: Any, tallies: dict[str, Counter[str]]) -> None:
    dice = random.Random("metadata")
    writer = Documents(Mix(comment=0.1, block=0.1), "metadata")
    documents = []
    for _ in range(PER_ROW):
        version = dice.choice(("  version: v1\n", '  "version": dev # x\n', "  version: {a: 1}\n", ""))
        others = dice.choice(("", "  appliedOverlays:\n  - base\n", "  a: 1\n", "  # only a comment\n"))
        block = f"metadata:\n{version}{others}"
        metadata = dice.choice(
            (block, block, "metadata: {version: v1}\n", "metadata: {a: 1, version: 2}\n", "metadata: {}\n")
        )
        body = writer.document().decode("utf-8", "surrogatepass")
        parts = [metadata, "x:\n" + "".join(f"  {line}\n" for line in body.split("\n"))]
        dice.shuffle(parts)
        documents.append("".join(parts).encode("utf-8", "surrogatepass"))
    tally: Counter[str] = Counter()
    for document, answer in zip(documents, yaml_oracle.ask(documents, "stripped"), strict=True):
        try:
            ours = canonical_recipe_digest(document, RecipePredicate.V3)
        except InputError:
            tally["refused by both" if answer.status == "error" else "strict"] += 1
            continue
        assert answer.status != "error", document
        assert ours == sha256_hex(answer.body), document
        tally["same"] += 1
    tallies["producer version removed"] = tally
    assert tally["same"] >= COMPARED_PER_ROW


def test_the_rows_are_many_enough() -> None:
    assert len(ROWS) * PER_ROW >= 10_000
