# SPDX-License-Identifier: Apache-2.0
"""Whose turn it is, and how little a run that waits for its turn may cost; pure.

Anybody may apply hundreds of runs. Those at work must not be kept waiting by passes over those in the queue.
"""

from __future__ import annotations

from typing import Final

from evidencerun_operator.conditions import find
from evidencerun_operator.run_object import Policy, Run
from evidencerun_operator.status import ConditionStatus, ConditionType

_EXAMINED: Final = 50
"""The front of the queue. Who stands behind it is examined later: a recipe can take a third of a second to read."""
_PACE: Final = 2.0
_PACE_MAX: Final = 30.0
_PER_SECOND: Final = 10


def queue_position(policy: Policy, *, occupied: int, ahead: int) -> int:
    """Return a run's place in the queue; 0 or less if it is its turn."""
    return occupied + ahead - policy.spec.limits.max_concurrent_runs + 1


def waits_unread(run: Run, position: int) -> bool:
    """Return whether a run goes on waiting whatever its recipe says: it was accepted already, or is far behind."""
    accepted = find(run.status.conditions, ConditionType.ACCEPTED)
    known = accepted is not None and accepted.status == ConditionStatus.TRUE
    return position > 0 and (known or position > _EXAMINED)


def pace(position: int) -> float:
    """Return the seconds until a waiting run is looked at again; who is far behind is looked at less often."""
    return min(_PACE_MAX, _PACE + position / _PER_SECOND)


def rough(position: int) -> str:
    """Return a place in the queue; far behind, it is not worth a new status whenever somebody is done."""
    if position <= 10:
        return str(position)
    unit: int = 10 ** (len(str(position)) - 1)
    return f"about {position // unit * unit}"
