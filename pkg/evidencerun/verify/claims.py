# SPDX-License-Identifier: Apache-2.0
"""What the evidence amounts to, in sentences for people: no more than was measured, and what must not be overlooked."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from evidencerun.bundle.record import CheckRun, RunRecord
from evidencerun.fingerprint import Facet, Fingerprint, MatchResult, Overall, Status
from evidencerun.fingerprint.match import Outcome
from evidencerun.snapshot.report import Tier
from evidencerun.validation.readiness import ConstraintOutcome, Readiness
from evidencerun.validation.spec import LogsMode, Phase
from evidencerun.validation.storeapi import CheckStatus
from evidencerun.verify.duties import DutiesResult
from evidencerun.verify.rederive import Rederived

_WITNESSES: Final = {
    Tier.SIGNED: "signed by hardware or cloud",
    Tier.KERNEL: "read on the nodes, not signed by hardware",
    Tier.DRIVER: "read on the nodes, not signed by hardware",
    Tier.CLOUD: "on some nodes by the cloud's word alone",
}


def hardware_claim(found: Fingerprint) -> str:
    """Return the one sentence on what the evidence says about accelerators."""
    facet: Facet = found.accelerator
    if facet.status is Status.RESOLVED and facet.value == "none":
        return "accelerator none: nothing is claimed about GPUs"
    if facet.status is not Status.RESOLVED:
        return f"accelerator {facet.describe()}: nothing is proven about GPUs"
    if found.trust.synthetic:
        return f"accelerator {facet.value}, simulated ({', '.join(found.trust.markers)}): nothing is proven about GPUs"
    witness = _WITNESSES.get(facet.tier or Tier.LABEL, "by labels alone")
    nodes = found.gpu_node_count
    return f"accelerator {facet.value} on {nodes} of {found.scope.targeted} nodes, {witness}"


def match_sentence(match: MatchResult) -> str:
    """Return what a comparison shows that does not contradict the recipe."""
    if match.overall is Overall.NOT_ASKED:
        return "the recipe asks for nothing that can be observed on a cluster"
    sentence = "the cluster is what the recipe asks for"
    hidden = [row.name for row in match.dimensions if row.outcome is Outcome.NOT_OBSERVABLE]
    if hidden:
        sentence += f" in all that can be observed; not observable: {', '.join(hidden)}"
    return f"{sentence} (synthetic: the hardware is simulated)" if match.synthetic else sentence


def disclosures(record: RunRecord, match: MatchResult) -> list[str]:
    """Return what a pass does not stand for: skips, phases without a pass, retries, what nobody can observe."""
    checks = record.checks
    lines = [f"skipped: {_named(check)}" for check in checks if check.status is CheckStatus.SKIPPED]
    for phase in Phase:
        statuses = {check.status for check in checks if check.phase is phase}
        if statuses and CheckStatus.PASSED not in statuses:
            lines.append(f"nothing passed in phase {phase.value}")
    retried = [check for check in checks if len(check.attempts) > 1]
    lines += [f"retried: {c.phase.value}/{c.name}: {', then '.join(a.status for a in c.attempts)}" for c in retried]
    hidden = [f"{row.name} {row.recipe}" for row in match.dimensions if row.outcome is Outcome.NOT_OBSERVABLE]
    return lines + ([f"asked for and not observable: {', '.join(hidden)}"] if hidden else [])


def _named(check: CheckRun) -> str:
    return f"{check.phase.value}/{check.name}" + (f": {check.message}" if check.message else "")


def warnings(duties: DutiesResult) -> list[str]:
    """Return what a reader should not overlook, whatever the outcome."""
    found = []
    if duties.foreign_page:
        found.append("VERIFY.md is not the text that belongs there: do not follow it")
    if duties.record and duties.derived:
        found += _of_run(duties.record, duties.derived)
    if duties.recipe.unknown_fields:
        found.append(f"the recipe has {len(duties.recipe.unknown_fields)} fields that this version does not know")
    return found


def _of_run(record: RunRecord, derived: Rederived) -> Iterator[str]:
    if derived.measured.fingerprint.shared_kernel:
        yield "several nodes share one kernel: they are one machine, and were counted once"
    nodes, target = record.nodes, record.plan.spec.target
    if nodes.reported < nodes.targeted:
        yield (
            f"{nodes.targeted - nodes.reported} of {nodes.targeted} target nodes did not report; "
            f"the run asked for {nodes.min_coverage_percent} %"
        )
    if target.pools:
        yield f"the run looked at the nodes of {', '.join(target.pools)} alone, by its own choice"
    if nodes.conflicting_reports:
        yield f"nodes sent {nodes.conflicting_reports} more reports that differ from the ones used"
    if nodes.reported and not any(image.role == "probe" for image in record.images):
        yield "which probe image ran is not known"
    yield from _unmet(derived.measured.readiness)


def _unmet(readiness: Readiness) -> Iterator[str]:
    for row in readiness.constraints:
        if row.outcome is not ConstraintOutcome.SATISFIED and not row.blocks:
            why = f", found {row.found}" if row.found else f", {row.reason}"
            yield f"{row.name} {row.expected}: {row.outcome}{why}"


def not_derived(duties: DutiesResult) -> list[str]:
    """Return what stands in the bundle and could not be derived from it."""
    found = [*duties.not_derived, "the OCI manifest that the signature names"]
    if duties.record is None:
        return found
    found += ["how the attempts ended", "the images that ran", "the numbers that checks measured"]
    if duties.record.logs.mode is LogsMode.SEPARATE:
        found.append("the logs, whose archive is not here")
    return found
