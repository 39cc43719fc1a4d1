# SPDX-License-Identifier: Apache-2.0
"""Why the API server has not created an object: it keeps no event about it, so that the last answer is remembered."""

from __future__ import annotations

from typing import Final

from evidencerun.errors import ClusterError
from evidencerun_operator import naming

_NOT_A_REFUSAL: Final = frozenset({401, 408, 409, 429})
"""Answers that say nothing about the object: our token, time, a conflict, too many requests."""
_FOREIGN: Final = "E3601"
"""An object of that name is somebody else's."""


class Refusals:
    """Name of an object to the API server's words. Losing them costs one more attempt to create it."""

    def __init__(self) -> None:
        self._words: dict[str, str] = {}

    def note(self, name: str, error: ClusterError) -> None:
        """Remember a refusal; other failures are not the object's."""
        refused = 400 <= (error.status or 0) < 500 and error.status not in _NOT_A_REFUSAL
        if refused or error.code == _FOREIGN:
            self._words[name] = str(error)

    def clear(self, name: str) -> None:
        """Forget what was said about an object that exists now."""
        self._words.pop(name, None)

    def of_run(self, uid: str) -> dict[str, str]:
        """Return what was refused of a run."""
        prefix = naming.prefix(uid)
        return {name: words for name, words in self._words.items() if name.startswith(prefix)}

    def forget(self, uid: str) -> None:
        """Forget a run that is over."""
        for name in self.of_run(uid):
            del self._words[name]
