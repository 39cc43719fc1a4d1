#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Write docs/errors.md: every error code with the sentences that go with it, taken from the places that raise it."""

from __future__ import annotations

import ast
import re
import sys
from collections import defaultdict
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
PAGE = REPOSITORY / "docs" / "errors.md"
_CODE = re.compile(r"E\d{4}")
_HEAD = """# Errors

Every error that EvidenceRun raises on purpose has a code that stays the same. Commands print it with the place, the
cause and the next move; conditions, events and logs in the cluster carry the same words. `…` stands for what was found.
This page is generated from the code (`make generate`).

| first digits | who is at fault |
|---|---|
| E1 | what you gave: a recipe, a manifest, a flag |
| E2 | the evidence: a digest, a signature, a structure |
| E3 | the Kubernetes API, or the operator's surroundings |
| E4 | a request to the evidence store |
| E5 | signing |
| E7 | what probes, sidecars, checks and deliveries need |

| code | what it says | how to mend it |
|---|---|---|
"""


def text_of(node: ast.expr | None) -> str:
    """Return a string expression as text with `…` for what is filled in; empty for anything else."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(text_of(part) if isinstance(part, ast.Constant) else "…" for part in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return (text_of(node.left) or "…") + (text_of(node.right) or "…")
    return ""


def sayings(source: str) -> list[tuple[str, str, str]]:
    """Return (code, sentence, fix) of each call and of each row of a table that names an error code."""
    found = []
    for call in ast.walk(ast.parse(source)):
        if isinstance(call, ast.Tuple) and _CODE.fullmatch(text_of(call.elts[0] if call.elts else None)):
            texts = [text_of(part) for part in call.elts[1:]] + ["", ""]
            found.append((text_of(call.elts[0]), texts[0], texts[1]))
        if isinstance(call, ast.Dict):
            found += [
                (text_of(value), f"the answer has HTTP status {key.value}", "")
                for key, value in zip(call.keys, call.values, strict=True)
                if isinstance(key, ast.Constant) and isinstance(key.value, int) and _CODE.fullmatch(text_of(value))
            ]
        if not isinstance(call, ast.Call):
            continue
        for place, argument in enumerate(call.args):
            if isinstance(argument, ast.Constant) and _CODE.fullmatch(str(argument.value)):
                after = call.args[place + 1] if len(call.args) > place + 1 else None
                named = {keyword.arg: keyword.value for keyword in call.keywords}
                # Readers of documents pass place, cause and fix by position, since they always have all of them.
                last = call.args[place + 4] if len(call.args) > place + 4 else None
                fix = text_of(named.get("fix") or last)
                found.append((str(argument.value), text_of(after or named.get("what")), fix))
    return found


def page() -> bytes:
    """Return the whole page."""
    rows: dict[str, dict[tuple[str, str], None]] = defaultdict(dict)
    for folder in ("pkg", "operator"):
        for path in sorted((REPOSITORY / folder).rglob("*.py")):
            for code, sentence, fix in sayings(path.read_text(encoding="utf-8")):
                rows[code].setdefault((sentence, fix))
    lines = [
        f"| {code} | {_cell(sentence) or '(the words of the source)'} | {_cell(fix)} |"
        for code in sorted(rows)
        for sentence, fix in rows[code]
    ]
    return (_HEAD + "\n".join(lines) + "\n").encode()


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").replace("<", "&lt;").split())


if __name__ == "__main__":
    PAGE.write_bytes(page())
    sys.stdout.write(f"{PAGE.relative_to(REPOSITORY)}\n")
