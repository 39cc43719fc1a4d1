# SPDX-License-Identifier: Apache-2.0
"""What keeps a finished run from being accepted, and the literal command to go on with; pure.

A run is immutable, so the way on from a bad verdict is: mend, delete, apply again. Only names and words of our own get
into a command: what nodes and checks say stays in summary and conditions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from evidencerun.validation.spec import RunSpec
from evidencerun.validation.storeapi import Verdict
from evidencerun_operator import wording
from evidencerun_operator.draft import Draft
from evidencerun_operator.status import ChecksStatus, ConditionStatus, ConditionType, MatchStatus
from evidencerun_operator.world import Places

GOOD: Final = frozenset({str(Verdict.PASSED), str(Verdict.FINGERPRINT_ONLY)})
"""Verdicts with which there is nothing to mend."""
_DELIVERY_FAILURES: Final = frozenset({"DeliveryFailed", "DeliveryTimedOut"})
_NAMES_SHOWN: Final = 3


def closing_command(draft: Draft, places: Places) -> str:
    """Return the next move after the end of a run that was planned."""
    status, sealed = draft.status, draft.condition(ConditionType.SEALED)
    fetch = status.bundle.fetch if status.bundle is not None else ""
    if status.verdict not in GOOD or not fetch:
        return again_command(draft)
    if sealed.status is ConditionStatus.TRUE:
        step = f"{fetch} && {wording.key_command(places)} && evr verify bundle.tar.gz --key evidence.pub"
        return _with_delivery(draft, step)
    if sealed.reason == "Unsigned":
        return _with_delivery(draft, f"{fetch} && evr show bundle.tar.gz")
    return again_command(draft)


def again_command(draft: Draft) -> str:
    """Return the command that makes room for the run to be applied again, with what to do before."""
    bundle = draft.status.bundle
    fetch = bundle.fetch if bundle is not None else ""
    undelivered = _undelivered(draft)
    if draft.status.verdict == Verdict.CANCELLED:
        mend = ", ".join(["take spec.cancel out of the manifest", *(f"mend {place}" for place in undelivered)])
        return wording.again_command(draft.run.ref, mend=mend, fetch=fetch)
    reasons = ", ".join(unsettled(draft) + [f"not delivered to {place}" for place in undelivered])
    return wording.again_command(draft.run.ref, mend=f"mend this: {reasons or 'what the summary names'}", fetch=fetch)


def _with_delivery(draft: Draft, step: str) -> str:
    """Add what a failed delivery asks for: evidence is as good without it, so the bundle is fetched as ever."""
    places = " and ".join(_undelivered(draft))
    if not places:
        return step
    run = draft.run.ref
    again = f"to have it delivered: mend {places}, kubectl delete -n {run.namespace} evr/{run.name}, apply it again"
    return wording.remarked(step, f"not delivered, the bundle is still in the store and this fetches it. {again}")


def _undelivered(draft: Draft) -> list[str]:
    """Return where the bundle should have arrived and did not, by the names with which people find it."""
    spec, bundle, delivered = draft.run.spec, draft.status.bundle, draft.condition(ConditionType.DELIVERED)
    failed = delivered.status is ConditionStatus.FALSE and delivered.reason in _DELIVERY_FAILURES
    if not failed or not isinstance(spec, RunSpec) or spec.deliver is None:
        return []
    arrived = {copy.kind for copy in bundle.delivered} if bundle is not None else set[str]()
    pvc, oci, found = spec.deliver.pvc, spec.deliver.oci, list[str]()
    if pvc is not None and "pvc" not in arrived:
        found.append(f"PersistentVolumeClaim {pvc.claim_name} in namespace {draft.run.ref.namespace}")
    if oci is not None and "oci" not in arrived:
        secret = f" with Secret {oci.secret_name}" if oci.secret_name else " without a Secret"
        found.append(f"registry {oci.repository}{secret}")
    return found


def unsettled(draft: Draft) -> list[str]:
    """Return what keeps the run from being accepted, one short fact each; empty if only the summary can say it."""
    status, sealed, found = draft.status, draft.condition(ConditionType.SEALED), list[str]()
    if status.verdict == Verdict.NOT_READY:
        found.append("the readiness constraints do not hold")
    if status.verdict in (Verdict.CHECKS_FAILED, Verdict.INCOMPLETE) and status.checks is not None:
        found += _checks(status.checks)
    found += circumstances(draft)
    if status.verdict == Verdict.INCOMPLETE and not found and status.checks is not None:
        found += _skipped(status.checks)  # a mandatory one, as nothing else is left
    if status.bundle is not None and sealed.status is ConditionStatus.FALSE and sealed.reason != "Unsigned":
        found.append("the bundle could not be signed")
    return found


def circumstances(draft: Draft) -> list[str]:
    """Return why the run is Mismatched or Incomplete, apart from single checks, which stand in the sample."""
    match draft.status.verdict:
        case Verdict.MISMATCHED:
            return list(_dimensions(draft.status.match, "mismatched", "not what the recipe asks for"))
        case Verdict.INCOMPLETE:
            return list(_incomplete(draft))
        case _:
            return []


def _incomplete(draft: Draft) -> Iterator[str]:
    spec, nodes = draft.run.spec, draft.status.nodes
    checks = draft.status.checks or ChecksStatus()
    if draft.condition(ConditionType.CHECKS_FINISHED).reason == "DeadlineExceeded":
        yield "the deadline was too short"
        return  # what follows from it need not be mended
    if nodes is not None and nodes.reported < nodes.targeted:
        yield f"{nodes.targeted - nodes.reported} of {nodes.targeted} nodes gave no report"
    yield from _dimensions(draft.status.match, "unknown", "unknown")
    if isinstance(spec, RunSpec) and (spec.checks.only or spec.checks.skip):
        yield "spec.checks leaves checks out"
    if not checks.declared:
        yield "no check is declared"
    elif not checks.passed:
        yield "no check passed"


def _checks(checks: ChecksStatus) -> Iterator[str]:
    failed = [check.name for check in checks.sample if check.outcome.startswith("failed")]
    other = [check.name for check in checks.sample if not check.outcome.startswith(("failed", "passed", "skipped"))]
    for names, word in ((failed, "failed"), (other, "came to no result")):
        if names:
            yield f"{'check' if len(names) == 1 else 'checks'} {_listed(names)} {word}"


def _skipped(checks: ChecksStatus) -> Iterator[str]:
    names = [check.name for check in checks.sample if check.outcome.startswith("skipped")]
    if names:
        yield f"check {names[0]} was skipped" if len(names) == 1 else f"checks {_listed(names)} were skipped"


def _dimensions(found: MatchStatus | None, outcome: str, word: str) -> Iterator[str]:
    rows = found.dimensions if found is not None else ()
    names = [row.name for row in rows if row.outcome.startswith(outcome)]
    if names:
        yield f"{_listed(names)} {'is' if len(names) == 1 else 'are'} {word}"


def _listed(names: Sequence[str]) -> str:
    rest = len(names) - _NAMES_SHOWN
    return ", ".join(names[:_NAMES_SHOWN]) + (f" and {rest} more" if rest > 0 else "")
