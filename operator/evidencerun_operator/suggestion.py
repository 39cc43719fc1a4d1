# SPDX-License-Identifier: Apache-2.0
"""`did you mean …?`; pure."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return a hint for a word that is not known: the nearest known one, or the list of all if it is short."""
    words = sorted(set(known))
    close = get_close_matches(word, words, n=1, cutoff=0.6)
    if close:
        return f"did you mean {close[0]}?"
    if not words:
        return "none is defined"
    listed = ", ".join(words[:12])
    return f"known: {listed}" + (f" and {len(words) - 12} more" if len(words) > 12 else "")
