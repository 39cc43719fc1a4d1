# SPDX-License-Identifier: Apache-2.0
"""`verify_bundle`: seven questions about a bundle, offline. Files, key, recipe and time are given; nothing is fetched.

The exit code is that of the first question answered no (docs/spec §8). Answers 4 and 5 are derived from the files,
never read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from evidencerun import __version__
from evidencerun.attest.keys import PublicKey, load_public_key
from evidencerun.canonical import RecipePredicate, canonical_recipe_digest, canonical_yaml
from evidencerun.errors import Error, EvidenceError, InputError
from evidencerun.recipe import load_recipe
from evidencerun.validation.storeapi import CheckCounts, CheckStatus, Verdict
from evidencerun.verify.claims import disclosures, hardware_claim, match_sentence, not_derived, warnings
from evidencerun.verify.duties import DutiesResult, verify_unsigned
from evidencerun.verify.questions import Interrogation
from evidencerun.verify.recipe_difference import recipe_differences
from evidencerun.verify.result import Outcome, Signer, Subject, VerificationReport
from evidencerun.verify.signature import Signature, Signed, Uncheckable, Unsigned, check_payload, read_signature

_CLOCK_SKEW: Final = 300
"""Seconds by which the signer's clock may be ahead of ours."""
_DOES_NOT_PROVE: Final = (
    "that nobody but the signer saw this cluster: it proves what the holder of the key stated, about which bytes",
    "when it happened: every time in it is the signer's own",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Demands:
    """What the caller wants to know: the one signer, the recipe's bytes, the greatest age in seconds, the time."""

    key: PublicKey | None
    recipe: bytes | None
    max_age: float | None
    now: datetime


def verify_bundle(
    files: Mapping[str, bytes],
    *,
    now: datetime,
    key_pem: bytes | None = None,
    recipe: bytes | None = None,
    max_age: float | None = None,
) -> VerificationReport:
    """Judge a bundle.

    `key_pem` is the public key of the one signer to accept; without it no bundle is accepted. `recipe` is the recipe
    that the evidence should be about, `max_age` the greatest age in seconds; without them questions 3 and 6 are not
    asked. `now` has a time zone.

    Raises:
        InputError: the caller's key or recipe cannot be read. Whatever is wrong with the bundle is an answer.

    """
    if recipe is not None:
        load_recipe(recipe)
    demands = Demands(
        key=load_public_key(key_pem, where="--key") if key_pem is not None else None,
        recipe=recipe,
        max_age=max_age,
        now=now,
    )
    asked = Interrogation()
    try:
        signature = read_signature(files, demands.key)
        artifact = check_payload(files, signature) if isinstance(signature, Signed) else ""
        duties = verify_unsigned(files)
    except (EvidenceError, InputError) as fault:
        return refused(fault)
    _intact(asked, duties)
    _who(asked, signature, demands.key)
    for question in (_about, _complete, _passed, _recent, _policy):
        if asked.open:
            question(asked, duties, demands)
    return _report(asked, duties, signature, artifact)


def refused(fault: Error) -> VerificationReport:
    """Return the report on a bundle that cannot be believed: question 1 is answered no."""
    asked = Interrogation()
    place = f"{fault.where}: " if fault.where else ""
    lines = [line for line in (fault.why, fault.fix) if line]
    asked.no(Outcome.INVALID, fault.code, f"{place}{fault.what}", *lines)
    return VerificationReport(
        outcome=asked.outcome.name,
        exit_code=asked.outcome,
        summary="do not use this bundle",
        questions=asked.finish(),
        verifier=__version__,
    )


def _intact(asked: Interrogation, duties: DutiesResult) -> None:
    count = len(duties.manifest.files)
    derived = "everything that follows from them was derived again" if duties.record else "no run record is among them"
    asked.yes(f"{count} of {count} files match the manifest; {derived}")


def _who(asked: Interrogation, signature: Signature, key: PublicKey | None) -> None:
    match signature:
        case Unsigned():
            asked.no(Outcome.UNSIGNED, "E2101", "nobody: the bundle holds no signature")
        case Uncheckable(reason=reason):
            asked.no(Outcome.UNTRUSTED_SIGNER, "E2211", reason)
        case Signed(verified=True, identity=identity):
            asked.yes(identity, "the signature is this key's, over this manifest")
        case Signed(identity=identity) if key is None:
            asked.no(
                Outcome.UNTRUSTED_SIGNER,
                "E2202",
                f"it says {identity}, which was not checked",
                "no signer was named: give the public key that you trust with --key",
            )
        case Signed(identity=identity):
            named = key.identity if key else ""
            asked.no(Outcome.UNTRUSTED_SIGNER, "E2201", f"it says {identity}", f"the key given is {named}")


def _about(asked: Interrogation, duties: DutiesResult, demands: Demands) -> None:
    if demands.recipe is None:
        asked.skip("give a recipe with --recipe to ask")
        return
    signed, version = duties.statement.predicate.recipe.digest, duties.statement.version
    form = demands.recipe if version is RecipePredicate.V3 else canonical_yaml(demands.recipe)
    given = canonical_recipe_digest(form, version)
    if given == signed:
        asked.yes(f"{duties.recipe.name}, digest {signed}")
        return
    lines = recipe_differences(duties.recipe.canonical, demands.recipe)
    asked.no(Outcome.STALE, "E2301", f"its digest is {signed}, the given recipe's is {given}", *lines)


def _complete(asked: Interrogation, duties: DutiesResult, _: Demands) -> None:
    if duties.record is None or duties.derived is None:
        asked.no(Outcome.INCOMPLETE, "E2402", "the bundle has no run record: what was declared is not known")
        return
    record, end = duties.record, duties.derived.conclusion
    nodes, counts = record.nodes, end.counts
    numbers = (
        f"{_ends(counts)}, of {counts.declared} declared; {counts.executed} executed (a container started); "
        f"{nodes.reported} of {nodes.targeted} nodes reported; attempts: {counts.attempts}"
    )
    reasons = list(end.incomplete)
    if end.verdict is Verdict.NOT_READY:
        # A run may have been sealed as not ready while nothing in it says so: then that is the reason.
        reasons = [f"not ready: {row}" for row in _unmet(duties)] or reasons
    elif end.verdict is Verdict.FINGERPRINT_ONLY:
        reasons = ["only the fingerprint was taken; no check was asked to run"]
    if reasons:
        asked.no(Outcome.INCOMPLETE, "E2401", numbers, *reasons, *_failed(duties))
    else:
        asked.yes(numbers)


def _ends(counts: CheckCounts) -> str:
    numbers = {name: getattr(counts, name) for name in ("passed", "failed", "skipped", "other")}
    return ", ".join(f"{count} {name}" for name, count in numbers.items() if count) or "no check"


def _unmet(duties: DutiesResult) -> list[str]:
    rows = duties.derived.measured.readiness.constraints if duties.derived else ()
    return [
        f"{row.name} {row.expected}: {row.outcome}" + (f", found {row.found}" if row.found else f", {row.reason}")
        for row in rows
        if row.blocks
    ]


def _failed(duties: DutiesResult) -> list[str]:
    checks = duties.record.checks if duties.record else []
    return [
        f"failed: {check.phase.value}/{check.name}" + (f": {check.message}" if check.message else "")
        for check in checks
        if check.status is CheckStatus.FAILED
    ]


def _passed(asked: Interrogation, duties: DutiesResult, _: Demands) -> None:
    if duties.derived is None:
        raise ValueError("an incomplete bundle cannot be asked whether it passed")
    end = duties.derived.conclusion
    match end.verdict:
        case Verdict.PASSED:
            match = duties.derived.measured.match
            asked.yes(f"{end.counts.passed} passed, and {match_sentence(match)}", *disclosures(duties.ours, match))
        case Verdict.MISMATCHED:
            rows = [
                f"{row.name}: recipe {row.recipe}, cluster {row.observed}: {row.describe()}"
                for row in duties.derived.measured.match.diff
            ]
            asked.no(Outcome.MISMATCH, "E2502", "the cluster is not what the recipe asks for", *rows, *_failed(duties))
        case _:
            asked.no(Outcome.CHECKS_FAILED, "E2501", f"{end.counts.failed} failed", *_failed(duties))


def _recent(asked: Interrogation, duties: DutiesResult, demands: Demands) -> None:
    if demands.max_age is None:
        asked.skip("give a greatest age with --max-age to ask")
        return
    texts = [duties.statement.predicate.attested_at]
    if duties.record is not None:
        # Old reports do not become recent by being sealed anew.
        texts.append(duties.record.seal.taken_at)
    ages = []
    for text in texts:
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            asked.no(Outcome.STALE, "E2603", f"the signer's time cannot be read: {text}")
            return
        ages.append((demands.now - moment.replace(tzinfo=moment.tzinfo or UTC)).total_seconds())
        if ages[-1] < -_CLOCK_SKEW:
            asked.no(Outcome.STALE, "E2602", f"the signer's clock says {text}, which is in the future")
            return
    age = max(ages)
    detail = f"{_span(age)} old by the signer's clock, limit {_span(demands.max_age)}"
    if age > demands.max_age:
        asked.no(Outcome.STALE, "E2601", detail)
    else:
        asked.yes(detail)


def _span(seconds: float) -> str:
    """Return a length of time in a unit in which it is not rounded to nothing."""
    for unit, size in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{max(0, seconds):.0f} s"


def _policy(asked: Interrogation, _: DutiesResult, demands: Demands) -> None:
    identity = demands.key.identity if demands.key else ""
    asked.yes("the policy is the one signer that was named", identity)


def _report(asked: Interrogation, duties: DutiesResult, signature: Signature, artifact: str) -> VerificationReport:
    questions = asked.finish()
    record, derived = duties.record, duties.derived
    report = VerificationReport(
        outcome=asked.outcome.name,
        exit_code=asked.outcome,
        summary=_SUMMARIES[asked.outcome],
        questions=questions,
        subject=_subject(duties, artifact),
        signer=Signer(identity=signature.identity, verified=signature.verified)
        if isinstance(signature, Signed)
        else None,
        warnings=warnings(duties),
        not_derived=not_derived(duties),
        does_not_prove=list(_DOES_NOT_PROVE),
        verifier=__version__,
    )
    trusted = isinstance(signature, Signed) and signature.verified
    if record is None or derived is None or not trusted:
        return report
    return report.model_copy(
        update={
            "verdict": derived.conclusion.verdict,
            "counts": derived.conclusion.counts,
            "match": derived.measured.match.to_dict(),
            "hardware_claim": hardware_claim(derived.measured.fingerprint),
            "synthetic": list(derived.measured.fingerprint.trust.markers),
        }
    )


_SUMMARIES: Final = {
    Outcome.ACCEPTED: "every question that was asked is answered yes",
    Outcome.CHECKS_FAILED: "authentic evidence of failed checks",
    Outcome.INCOMPLETE: "authentic, but not everything that is needed was done",
    Outcome.STALE: "authentic evidence, but about another recipe or too old",
    Outcome.UNTRUSTED_SIGNER: "not accepted: nobody vouches for the signer",
    Outcome.MISMATCH: "authentic, but the cluster is not what the recipe asks for",
    Outcome.INVALID: "do not use this bundle",
    Outcome.UNSIGNED: "nobody signed this bundle",
}


def _subject(duties: DutiesResult, artifact: str) -> Subject:
    predicate, record = duties.statement.predicate, duties.record
    return Subject(
        recipe_name=duties.recipe.name,
        recipe_digest=predicate.recipe.digest,
        predicate_type=duties.statement.predicate_type,
        inventory_digest=duties.inventory_digest,
        artifact_digest=artifact,
        run=f"{record.plan.run.namespace}/{record.plan.run.name}" if record else "",
        run_uid=record.plan.run.uid if record else "",
        sealed_at=predicate.attested_at,
    )
