# SPDX-License-Identifier: Apache-2.0
"""The status of a pass while it is being decided: starts from what is stored, changes only what is known better."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from evidencerun.validation.storeapi import Verdict
from evidencerun_operator import wording
from evidencerun_operator.conditions import NOT_REACHED, complete_set, find, put, shortened
from evidencerun_operator.run_object import Run
from evidencerun_operator.status import Condition, ConditionStatus, ConditionType, RunPhase, RunStatus
from evidencerun_operator.timestamps import seconds_since, to_text


class Draft:
    """A status under construction. It lives for one decision only."""

    def __init__(self, run: Run, now: datetime) -> None:
        self.run = run
        self.now = now
        self._conditions = complete_set(run.status.conditions, now=now, generation=run.generation)
        self._changes: dict[str, Any] = {}
        self._phase = RunPhase.PENDING
        self._note = ""
        self._warning = ""
        self._next = ""

    def mark(self, kind: ConditionType, status: ConditionStatus, reason: str, message: str = "") -> None:
        """Set a condition."""
        self._conditions = put(
            self._conditions,
            Condition(
                type=kind,
                status=status,
                reason=reason,
                message=shortened(message),
                last_transition_time=to_text(self.now),
                observed_generation=self.run.generation,
            ),
        )

    def condition(self, kind: ConditionType) -> Condition:
        """Return a condition as it stands now."""
        found = find(self._conditions, kind)
        if found is None:
            raise RuntimeError(f"condition {kind} is not in the complete set")
        return found

    def age(self, kind: ConditionType) -> float:
        """Return the seconds since the condition's status changed last."""
        return seconds_since(self.condition(kind).last_transition_time, self.now)

    def set(self, **members: Any) -> None:
        """Set members of the status."""
        self._changes.update(members)

    def say(self, phase: RunPhase, note: str = "", next_action: str = "") -> None:
        """Set the state's word, what people should know now, and the literal command for the next move."""
        self._phase, self._note, self._next = phase, note, next_action

    def warn(self, warning: str) -> None:
        """Add what people should know whatever the state is."""
        self._warning = warning

    @property
    def status(self) -> RunStatus:
        """The stored status with the changes so far, but without conditions and words."""
        return self.run.status.model_copy(update=self._changes)

    def judge(self, verdict: Verdict | str) -> None:
        """Set the verdict, once: it never changes afterwards."""
        if not self.status.verdict:
            self.set(verdict=str(verdict))

    def finish(self, message: str) -> None:
        """Make it final: every condition that is undecided becomes False, and Complete becomes True."""
        for known in self._conditions:
            if known.status is ConditionStatus.UNKNOWN and known.type != ConditionType.COMPLETE:
                self._leave(ConditionType(known.type))
        self.mark(ConditionType.COMPLETE, ConditionStatus.TRUE, self.status.verdict or "Ended", message)

    def _leave(self, kind: ConditionType) -> None:
        """Decide a condition that the run did not come to; how many nodes have reported is known all the same."""
        nodes = self.status.nodes if kind is ConditionType.NODES_REPORTED else None
        if nodes is None:
            self.mark(kind, ConditionStatus.FALSE, NOT_REACHED, "the run ended before")
        elif nodes.missing:
            text = f"{nodes.targeted - nodes.missing} of {nodes.targeted} nodes had reported when the run ended"
            self.mark(kind, ConditionStatus.FALSE, NOT_REACHED, text)
        else:
            self.mark(kind, ConditionStatus.TRUE, "AllReported", f"{nodes.targeted} nodes have reported")

    def build(self) -> RunStatus:
        """Return the status to be written."""
        base = self.status
        note = "; ".join(part for part in (self._note, self._warning) if part)
        return base.model_copy(
            update={
                "observed_generation": self.run.generation,
                "conditions": self._conditions,
                "phase": str(self._phase),
                "summary": shortened(wording.summary(base, note))[:512],
                "next_action": self._next or wording.wait_command(self.run.ref),
            }
        )
