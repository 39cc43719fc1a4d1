# SPDX-License-Identifier: Apache-2.0
"""Conditions: all known ones from the first pass on, and a transition time that moves only with the status; pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from evidencerun_operator.status import MESSAGE_MAX, Condition, ConditionStatus, ConditionType
from evidencerun_operator.timestamps import to_text

WAITING = "Waiting"
NOT_REACHED = "NotReached"


def find(conditions: Iterable[Condition], kind: ConditionType) -> Condition | None:
    """Return the condition of that type."""
    return next((known for known in conditions if known.type == kind), None)


def complete_set(conditions: Iterable[Condition], *, now: datetime, generation: int) -> tuple[Condition, ...]:
    """Return the conditions with every known type in it, in the order of `ConditionType`; unknown types are dropped."""
    given = list(conditions)
    return tuple(
        find(given, kind)
        or Condition(
            type=kind,
            status=ConditionStatus.FALSE if kind is ConditionType.STORE_UNAVAILABLE else ConditionStatus.UNKNOWN,
            reason=WAITING,
            last_transition_time=to_text(now),
            observed_generation=generation,
        )
        for kind in ConditionType
    )


def put(conditions: tuple[Condition, ...], new: Condition) -> tuple[Condition, ...]:
    """Return the conditions with `new` in place of its type; the transition time stays if the status does."""
    out = []
    for known in conditions:
        if known.type != new.type:
            out.append(known)
        elif known.status == new.status:
            out.append(new.model_copy(update={"last_transition_time": known.last_transition_time}))
        else:
            out.append(new)
    return tuple(out)


def shortened(message: str) -> str:
    """Return a message that fits, with one line and no control characters, so that no terminal is confused."""
    line = "".join(char if char.isprintable() else " " for char in " ".join(message.split()))
    return line if len(line) <= MESSAGE_MAX else line[: MESSAGE_MAX - 1] + "…"
