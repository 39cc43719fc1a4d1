# SPDX-License-Identifier: Apache-2.0
"""The result of a delivery as the operator reads it: one JSON object in the termination message, at most 4096 bytes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final

from evidencerun import limits
from evidencerun.errors import Error

_TEXT_MAX: Final = 480


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivered:
    """One copy: `kind` is pvc or oci, `ref` names it."""

    kind: str
    ref: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Undelivered:
    """One copy that could not be made, and why."""

    kind: str
    fault: Error


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of a delivery."""

    delivered: tuple[Delivered, ...] = ()
    errors: tuple[Undelivered, ...] = ()

    @property
    def exit_code(self) -> int:
        """0 only if everything that was asked for is delivered."""
        return 0 if self.delivered and not self.errors else 1

    def message(self) -> bytes:
        """Return the termination message; texts are cut so far that two targets always fit."""
        data = b""
        for most in (_TEXT_MAX, 200, 80, 20):
            data = json.dumps(self._document(most), ensure_ascii=True).encode()
            if len(data) <= limits.TERMINATION_MESSAGE_MAX:
                break
        return data

    def _document(self, most: int) -> dict[str, Any]:
        errors = [
            {
                "kind": item.kind,
                "code": item.fault.code,
                "what": str(item.fault)[:most],
                "fix": item.fault.fix[:most],
            }
            for item in self.errors
        ]
        return {
            "delivered": [{"kind": item.kind, "ref": item.ref[:700]} for item in self.delivered],
            "errors": errors,
        }
