# SPDX-License-Identifier: Apache-2.0
"""Compares a fingerprint with what a recipe asks for (docs/spec §6).

A wildcard is not asked. Intent and platform cannot be observed; they are listed and do not count. `nodes` compares
with the number of target nodes, all of which must have reported (AICR compares with all nodes of the cluster, control
plane included).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from evidencerun.fingerprint.model import Facet, Fingerprint, Status
from evidencerun.fingerprint.tables import accelerators
from evidencerun.recipe import Criteria
from evidencerun.snapshot.report import UnknownReason
from evidencerun.snapshot.yaml_writer import Value

_WILDCARDS: Final = frozenset({"", "any"})


class Outcome(StrEnum):
    """What can be said about one dimension."""

    MATCHED = "matched"
    MISMATCHED = "mismatched"
    UNKNOWN = "unknown"
    """The recipe asks, and the evidence does not answer; the reason is given."""
    NOT_OBSERVABLE = "not-observable"
    """Nothing on a cluster shows it."""
    NOT_ASKED = "not-asked"
    """A wildcard."""


class Overall(StrEnum):
    """What can be said about the whole recipe."""

    MATCHED = "matched"
    MISMATCHED = "mismatched"
    UNPROVEN = "unproven"
    """Nothing contradicts the recipe, and something that it asks for is unknown."""
    NOT_ASKED = "not-asked"
    """The recipe asks for nothing that can be observed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DimensionMatch:
    """One dimension: what the recipe asks for, what was observed (for people), and the outcome.

    `value` is what was observed as AICR writes it: "" unless resolved. `reason` is set if the outcome is unknown.
    """

    name: str
    recipe: str
    observed: str
    outcome: Outcome
    reason: str = ""
    value: str = ""

    def describe(self) -> str:
        """Return the outcome with its reason: `unknown(conflict)`."""
        return f"{self.outcome}({self.reason})" if self.reason else self.outcome.value


@dataclass(frozen=True, slots=True, kw_only=True)
class MatchResult:
    """The comparison. `synthetic` says that something about the hardware looks simulated: a match is then no proof."""

    overall: Overall
    dimensions: tuple[DimensionMatch, ...]
    synthetic: bool = False

    @property
    def matched(self) -> Overall:
        """The overall outcome."""
        return self.overall

    @property
    def diff(self) -> tuple[DimensionMatch, ...]:
        """The dimensions that are asked for and not matched."""
        return tuple(row for row in self.dimensions if row.outcome not in (Outcome.MATCHED, Outcome.NOT_ASKED))

    def describe(self) -> str:
        """Return the overall outcome for people: a match of simulated hardware is never called matched alone."""
        simulated = self.synthetic and self.overall is Overall.MATCHED
        return f"{self.overall} (synthetic)" if simulated else self.overall.value

    def aicr(self) -> dict[str, Value]:
        """Return AICR's `criteriaMatch`; `matched` is true only if ours is matched or not-asked.

        AICR has no word for simulated hardware: whatever it matches is then unknown there.
        """
        rows = tuple(_simulated(row) for row in self.dimensions) if self.synthetic else self.dimensions
        return {
            "matched": self.overall in (Overall.MATCHED, Overall.NOT_ASKED) and rows == self.dimensions,
            "perDimension": [_aicr_row(row) for row in rows],
        }

    def to_dict(self) -> dict[str, Value]:
        """Return the wire form of our own documents."""
        return {
            "overall": self.overall.value,
            "synthetic": self.synthetic,
            "dimensions": [_row(row) for row in self.dimensions],
        }


def _simulated(row: DimensionMatch) -> DimensionMatch:
    return replace(row, outcome=Outcome.UNKNOWN) if row.outcome is Outcome.MATCHED else row


def _row(row: DimensionMatch) -> Value:
    document: dict[str, Value] = {
        "name": row.name,
        "recipe": row.recipe,
        "observed": row.observed,
        "outcome": row.outcome.value,
    }
    if row.reason:
        document["reason"] = row.reason
    return document


def _aicr_row(row: DimensionMatch) -> Value:
    words = {Outcome.NOT_ASKED: "matched", Outcome.NOT_OBSERVABLE: "unknown"}
    document: dict[str, Value] = {"dimension": row.name, "match": words.get(row.outcome, row.outcome.value)}
    if row.outcome is not Outcome.NOT_ASKED:
        document["recipeRequires"] = row.recipe
        if row.value:
            document["fingerprintProvides"] = row.value
    return document


def overall_of(outcomes: list[Outcome]) -> Overall:
    """Return the overall outcome of the outcomes of all dimensions."""
    asked = [each for each in outcomes if each not in (Outcome.NOT_ASKED, Outcome.NOT_OBSERVABLE)]
    if Outcome.MISMATCHED in asked:
        return Overall.MISMATCHED
    if Outcome.UNKNOWN in asked:
        return Overall.UNPROVEN
    return Overall.MATCHED if asked else Overall.NOT_ASKED


def match_criteria(fingerprint: Fingerprint, criteria: Criteria) -> MatchResult:
    """Compare every field of the criteria by its rule, in AICR's order."""
    rows = tuple(rule(fingerprint, criteria) for rule in RULES.values())
    return MatchResult(
        overall=overall_of([row.outcome for row in rows]),
        dimensions=rows,
        synthetic=fingerprint.trust.synthetic,
    )


def _equal(word: str, value: str) -> bool:
    return word == value


def _word(text: str) -> str:
    return text.strip().lower()


def _facet_row(name: str, asked: str, facet: Facet, satisfies: Callable[[str, str], bool] = _equal) -> DimensionMatch:
    word = _word(asked)
    value = facet.value if facet.resolved else ""
    outcome, reason = (Outcome.NOT_ASKED, "") if word in _WILDCARDS else _judged(word, facet, satisfies)
    return DimensionMatch(
        name=name, recipe=word or "any", observed=facet.describe(), outcome=outcome, reason=reason, value=value
    )


def _judged(word: str, facet: Facet, satisfies: Callable[[str, str], bool]) -> tuple[Outcome, str]:
    if facet.status is Status.RESOLVED:
        return (Outcome.MATCHED if satisfies(word, facet.value) else Outcome.MISMATCHED), ""
    if facet.status is Status.CLAIMED:
        return Outcome.UNKNOWN, Status.CLAIMED.value
    return Outcome.UNKNOWN, facet.reason


def _service(fingerprint: Fingerprint, criteria: Criteria) -> DimensionMatch:
    return _facet_row("service", criteria.service, fingerprint.service)


def _accelerator(fingerprint: Fingerprint, criteria: Criteria) -> DimensionMatch:
    return _facet_row("accelerator", criteria.accelerator, fingerprint.accelerator, accelerators().satisfies)


def _os(fingerprint: Fingerprint, criteria: Criteria) -> DimensionMatch:
    return _facet_row("os", criteria.os, fingerprint.os)


def _hidden(name: str, asked: str) -> DimensionMatch:
    word = _word(asked)
    outcome = Outcome.NOT_ASKED if word in _WILDCARDS else Outcome.NOT_OBSERVABLE
    return DimensionMatch(name=name, recipe=word or "any", observed="not observable", outcome=outcome)


def _intent(_: Fingerprint, criteria: Criteria) -> DimensionMatch:
    return _hidden("intent", criteria.intent)


def _platform(_: Fingerprint, criteria: Criteria) -> DimensionMatch:
    return _hidden("platform", criteria.platform)


def _nodes(fingerprint: Fingerprint, criteria: Criteria) -> DimensionMatch:
    scope = fingerprint.scope
    count = fingerprint.node_count
    reason = ""
    if not criteria.nodes:
        outcome = Outcome.NOT_ASKED
    elif not count:
        outcome, reason = Outcome.UNKNOWN, UnknownReason.NOT_COLLECTED.value
    elif count != criteria.nodes:
        outcome = Outcome.MISMATCHED
    elif scope.reported < scope.targeted and not scope.in_cluster:
        outcome, reason = Outcome.UNKNOWN, UnknownReason.NOT_REPORTED.value
    else:
        outcome = Outcome.MATCHED
    known = bool(count) and not reason
    return DimensionMatch(
        name="nodes",
        recipe=str(criteria.nodes) if criteria.nodes else "any",
        observed=f"{scope.reported} of {scope.targeted}" if scope.targeted else "unknown(not_collected)",
        outcome=outcome,
        reason=reason,
        value=str(count) if known else "",
    )


RULES: Final[Mapping[str, Callable[[Fingerprint, Criteria], DimensionMatch]]] = {
    "service": _service,
    "accelerator": _accelerator,
    "os": _os,
    "intent": _intent,
    "platform": _platform,
    "nodes": _nodes,
}
"""One rule per field of the criteria, in AICR's order."""
