# SPDX-License-Identifier: Apache-2.0
"""What a signer can only state must at least not contradict itself: plan, nodes, attempts, redaction.

None of this can be derived. But each part says more than one thing, and a lie in one place needs its fellows in others.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import Final

from evidencerun import limits
from evidencerun.bom.images import image_digest
from evidencerun.bundle.check_results import IMAGES_FILE, MEASUREMENTS_FILE, observed_bytes
from evidencerun.bundle.checks import milliseconds
from evidencerun.bundle.derive import ending_of
from evidencerun.bundle.record import AttemptRun, CheckRun, RunRecord
from evidencerun.bundle.redaction import REPLACED
from evidencerun.ctrf.redact import published_extra, published_provenance
from evidencerun.recipe import Recipe
from evidencerun.snapshot.nodes import NodeEntry
from evidencerun.validation.duration import parse_duration
from evidencerun.validation.outcome import began, ending_contradiction, ran_over
from evidencerun.validation.plan import PlannedCheck
from evidencerun.validation.plan_rules import check_faults
from evidencerun.validation.spec import Redaction
from evidencerun.validation.storeapi import AttemptState, CheckStatus
from evidencerun.verify.compare import contradiction

_REPORT_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")
_ROLES: Final = frozenset({"check", "probe"})
_RUN: Final = "run.json"
_NODES: Final = "nodes.json"


def check_stated(record: RunRecord, recipe: Recipe) -> None:
    """Refuse a record whose statements contradict each other or the recipe.

    Raises:
        EvidenceError: E2080 with the place.

    """
    _plan(record, recipe)
    for check, planned in zip(record.checks, record.plan.checks, strict=True):
        _check(record, check, planned)
    _observed(record)
    if any(image.role not in _ROLES for image in record.images):
        contradiction(f"{_RUN} images", "an image ran in a role that there is not")
    if observed_bytes(record.observed_images) > limits.OBSERVED_IMAGES_BYTES_MAX:
        contradiction(f"{_RUN} observedImages", "its texts are longer than a run's can be")
    asked, done = record.plan.policy_spec.redaction, record.redaction
    if done.policy != asked.value or bool(done.version) is (asked is Redaction.NONE):
        contradiction(f"{_RUN} redaction", f"the policy asks for {asked.value}")


def _observed(record: RunRecord) -> None:
    """Refuse what nobody can have seen: containers without a check that lists them, probes without a report."""
    ours = {
        check.name
        for check in record.plan.checks
        if check.entry is not None and check.entry.image == record.plan.images.evidencerun
    }
    looked = {
        file.name
        for check in record.checks
        for attempt in check.attempts
        for file in attempt.results
        if check.name in ours
    }
    if record.observed_images and IMAGES_FILE not in looked:
        contradiction(f"{_RUN} observedImages", "no check of our own has listed them")
    if sum(image.pods for image in record.images if image.role == "probe") > record.nodes.reported:
        contradiction(f"{_RUN} images", "more probes were looked at than have reported")


def _plan(record: RunRecord, recipe: Recipe) -> None:
    plan = record.plan
    for fault in check_faults(plan, recipe):
        contradiction(f"{_RUN} plan", fault)
    if plan.policy.name != plan.spec.policy:
        contradiction(f"{_RUN} plan.policy.name", "the run names another policy")
    if record.producer.name != "evidencerun":
        contradiction(f"{_RUN} producer.name", "the predicate names another producer")


def check_nodes(record: RunRecord, nodes: Iterable[NodeEntry]) -> None:
    """Refuse nodes that contradict the run, its redaction or each other; they come one at a time.

    Raises:
        EvidenceError: E2080 with the place.

    """
    asked = record.plan.spec.target.pools
    pools = {pool.name for pool in record.plan.policy_spec.pools if not asked or pool.name in asked}
    redacted = record.plan.policy_spec.redaction is not Redaction.NONE
    seen: set[tuple[str, str]] = set()
    for number, entry in enumerate(nodes):
        if why := _node_fault(entry, run_uid=record.plan.run.uid, pools=pools):
            contradiction(f"{_NODES} nodes.{number}", why)
        if redacted and _shows_identifiers(entry):
            contradiction(f"{_NODES} nodes.{number}", "an identifier stands in it that the redaction replaces")
        own = {("name", entry.facts.name)}
        if entry.report:
            own |= {("report", entry.report_digest), ("pod", entry.pod_uid or f"of node {number}")}
        if twice := sorted(seen & own):
            contradiction(f"{_NODES} nodes", f"two nodes have the same {twice[0][0]}")
        seen |= own


def _node_fault(entry: NodeEntry, *, run_uid: str, pools: set[str]) -> str:
    if entry.facts.pool not in pools:
        return "its pool is none of those that policy and run name"
    if entry.report is None:
        return ""
    if entry.report.run_uid != run_uid:
        return "its report is of another run"
    if entry.report.node_name != entry.facts.name:
        return "its report is about another node"
    return "" if _REPORT_DIGEST.fullmatch(entry.report_digest) else "its report has no digest"


def _check(record: RunRecord, check: CheckRun, planned: PlannedCheck) -> None:
    where = f"{_RUN} checks {check.name}"
    if check.attempts and (planned.entry is None or planned.excluded):
        contradiction(where, "a check that was not to run has attempts")
    if published_extra(check.extra, Counter()) != check.extra:
        contradiction(f"{where} extra", "it holds what is never published")
    if published_provenance(check.provenance, Counter()) != check.provenance:
        contradiction(f"{where} provenance", "it holds what is never published")
    image = planned.entry.image if planned.entry else ""
    timeout = parse_duration(planned.entry.timeout) if planned.entry else 0
    foreign = image != record.plan.images.evidencerun
    redacted = record.plan.policy_spec.redaction is not Redaction.NONE
    if check.attempts and check.message and foreign and redacted:
        contradiction(f"{where} message", "the redaction leaves no message of a check that is not our own")
    measured = [number for attempt in check.attempts for number in attempt.measurements]
    if redacted and not all(REPLACED.fullmatch(number.node) for number in measured):
        contradiction(f"{where} measurements", "a node's name stands in them that the redaction replaces")
    for attempt in check.attempts:
        if why := _attempt_fault(attempt, image, timeout):
            contradiction(f"{where} attempt {attempt.attempt}", why)


def _attempt_fault(attempt: AttemptRun, image: str, timeout: float) -> str:
    ending = ending_of(attempt)
    if attempt.image != image:
        return "it ran another image than the policy's"
    if attempt.image_digest != image_digest(attempt.image_id):
        return "the digest of its image is not the one in the kubelet's imageID"
    if attempt.image_id and not began(ending):
        return "its container never started, and an image of it is said to have run"
    if attempt.started_at != ending.started_at or attempt.finished_at != ending.finished_at:
        return "it gives a time at which nothing can have happened"
    if attempt.duration != milliseconds(attempt.started_at, attempt.finished_at):
        return "its duration is not the time from its start to its end"
    if attempt.measurements and MEASUREMENTS_FILE not in {file.name for file in attempt.results}:
        return "it has numbers, and no file that they came in"
    log = attempt.log
    whole = not log.reason and not log.dropped and attempt.state is AttemptState.ENDED
    if bool(log.size) is not bool(log.sha256) or (not whole if log.complete else not log.reason):
        return "its log contradicts itself"
    if attempt.state is not AttemptState.ENDED:
        ended = attempt.status is not CheckStatus.PENDING or attempt.reason
        return "it has an outcome and had not ended" if ended else ""
    known, over = bool(attempt.image_digest), ran_over(ending, timeout)
    return ending_contradiction(ending, attempt.status, attempt.reason, image_known=known, over=over)


def _shows_identifiers(entry: NodeEntry) -> bool:
    facts, report = entry.facts, entry.report
    shown = [facts.uid, facts.name, facts.boot_id, facts.machine_id, facts.system_uuid, entry.pod_uid]
    shown += [report.node_name, report.boot_id] if report else []
    return not all(REPLACED.fullmatch(value) for value in shown)
