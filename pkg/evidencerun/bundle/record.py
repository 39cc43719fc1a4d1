# SPDX-License-Identifier: Apache-2.0
"""run.json: what a run was, what it did and what came of it (schema `run-record/v1`, docs/spec §5).

Members fall in two kinds. What was seen (plan, attempts, images, measurements) can only be stated. What follows from
it and from the other files (digests, nodes, match, readiness, counts, verdict) is derived, and the verifier derives it
again. Digests carry `sha256:`, times are RFC 3339 in UTC, durations are milliseconds, sizes are bytes.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from evidencerun import limits
from evidencerun.bundle import layout
from evidencerun.canonical import parse_json
from evidencerun.errors import EvidenceError, InputError
from evidencerun.validation.plan import ClusterIdentity, PlanImages, PlannedCheck, PolicyIdentity, RunIdentity
from evidencerun.validation.spec import CheckSelection, Duration, LogsMode, Phase, PolicySpec, Target
from evidencerun.validation.storeapi import AttemptState, CheckCounts, CheckStatus, SealReason, Verdict

RUN_SCHEMA: Final = "https://evidencerun.dev/schemas/run-record/v1"

Text = Annotated[str, Field(max_length=8192)]
Digest = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$", max_length=71)]
MaybeDigest = Annotated[str, Field(pattern=r"^(sha256:[0-9a-f]{64})?$", max_length=71)]
Count = Annotated[int, Field(ge=0)]


class RecordModel(BaseModel):
    """camelCase on disk, frozen, closed: an unknown member is refused."""

    model_config = ConfigDict(
        alias_generator=to_camel, validate_by_name=True, validate_by_alias=True, extra="forbid", frozen=True
    )


class Producer(RecordModel):
    """Who built the bundle."""

    name: Text = "evidencerun"
    version: Text


class AskedSpec(RecordModel):
    """What the user asked for, without the recipe's text and without where the bundle was to be delivered."""

    policy: Text
    phases: list[Phase]
    fingerprint_only: bool
    checks: CheckSelection
    target: Target
    deadline: Duration
    logs: LogsMode


class PlanRecord(RecordModel):
    """The frozen plan, without the recipe's bytes (recipe.yaml has their canonical form) and the nodes (nodes.json)."""

    run: RunIdentity
    spec: AskedSpec
    policy: PolicyIdentity
    policy_spec: PolicySpec
    recipe_name: Text
    recipe_digest: Text
    cluster: ClusterIdentity
    checks: Annotated[list[PlannedCheck], Field(max_length=limits.CTRF_TESTS_MAX)]
    images: PlanImages
    nonce: Text
    frozen_at: Text
    deadline_time: Text


class PlanDigests(RecordModel):
    """Digests of the plan's parts.

    `recipe` is bare (v3 digest of recipe.yaml); `catalog` is over the RFC 8785 form of the policy's catalog;
    `target_nodes` over that of [{name, uid}] as nodes.json names them; `plan` over the whole plan as the store keeps
    it: it binds the bundle to the store and cannot be derived from the bundle.
    """

    recipe: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    catalog: Digest
    target_nodes: Digest
    plan: Digest


class Straggler(RecordModel):
    """A target node that did not report, by the name that nodes.json gives it."""

    name: Text
    state: Text
    reason: Text


class NodeCounts(RecordModel):
    """Denominators of the probe, and every node that did not report."""

    targeted: Count
    reported: Count
    failed: Count
    missing: Count
    min_coverage_percent: Annotated[int, Field(ge=1, le=100)]
    coverage_met: bool
    conflicting_reports: Count
    stragglers: Annotated[list[Straggler], Field(max_length=limits.NODES_MAX)]


class ResultFile(RecordModel):
    """A file that a check left under /results; the file itself is not in the bundle."""

    name: Text
    size: Count
    sha256: Digest


class Measurement(RecordModel):
    """A number that a check measured, from /results/measurements.json, with its unit."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]{0,127}$", max_length=128)]
    value: int | float
    unit: Annotated[str, Field(pattern=r"^[A-Za-z0-9%/*^._ µ-]{0,32}$", max_length=32)]
    node: Text = ""


class LogRecord(RecordModel):
    """The log of an attempt: bytes kept, bytes dropped beyond the limit, whether it is whole and if not why, digest."""

    size: Count
    dropped: Count
    complete: bool
    reason: Text
    """Why it is not whole; empty if it is."""
    sha256: MaybeDigest
    path: Text


class AttemptRun(RecordModel):
    """One attempt of a check, however it ended. `reason` is a closed word; empty for passed and failed."""

    attempt: Annotated[int, Field(ge=1)]
    job_name: Text
    state: AttemptState
    status: CheckStatus
    reason: Text
    exit_code: int | None = None
    signal: int | None = None
    ending: Text
    """The kubelet's word for the end of the container."""
    started_at: Text
    finished_at: Text
    duration: Count
    image: Text
    image_id: Text
    image_digest: MaybeDigest
    log: LogRecord
    results: Annotated[list[ResultFile], Field(max_length=limits.RESULT_FILES_MAX)]
    measurements: Annotated[list[Measurement], Field(max_length=limits.MEASUREMENTS_MAX)]
    notes: Annotated[list[Text], Field(max_length=16)]


class CheckRun(RecordModel):
    """One declared check: the outcome of its last attempt, and all attempts."""

    name: Text
    phase: Phase
    catalogued: bool
    excluded: bool
    mandatory: bool
    status: CheckStatus
    reason: Text
    message: Text
    extra: dict[Text, Text]
    """Counts and closed words that the check gave, as far as they may be published."""
    provenance: dict[Text, Text]
    attempts: Annotated[list[AttemptRun], Field(max_length=limits.ATTEMPTS_MAX)]


class ImageRun(RecordModel):
    """An image that really ran: the reference asked for, what the kubelet says it ran, and that one's digest."""

    role: Text
    """`check` or `probe`."""
    pods: Annotated[int, Field(ge=1)]
    """How many pods were seen running it: attempts of checks, and the probes that were looked at."""
    image: Text
    image_id: Text
    digest: Digest


class ObservedImage(RecordModel):
    """An image that `expected-resources` saw for a component; `image_id` is empty if the kubelet gave none."""

    namespace: Text
    kind: Text
    name: Text
    container: Text
    image: Text
    image_id: Text
    component: Text


class RedactionRecord(RecordModel):
    """The policy, the version of its rules, and how often each rule fired."""

    policy: Text
    version: Text
    fired: dict[Text, Count]


class LogsRecord(RecordModel):
    """Where the logs are. `digest` is that of evidence-logs.tar.gz; empty if they stand in the bundle."""

    mode: LogsMode
    files: Count
    digest: MaybeDigest


class SealRecord(RecordModel):
    """Why and when the run was sealed."""

    reason: SealReason
    message: Text
    run_started_at: Text
    taken_at: Text
    """When the reports were merged into the snapshot."""
    sealed_at: Text


class TrustRecord(RecordModel):
    """Signs that something was simulated; `synthetic` if there is one."""

    synthetic: bool
    markers: list[Text]


class RunRecord(RecordModel):
    """run.json."""

    record_schema: Annotated[str, Field(alias="schema")] = RUN_SCHEMA
    producer: Producer
    plan: PlanRecord
    digests: PlanDigests
    seal: SealRecord
    nodes: NodeCounts
    match: dict[str, Any]
    readiness: dict[str, Any]
    trust: TrustRecord
    checks: Annotated[list[CheckRun], Field(max_length=limits.CTRF_TESTS_MAX)]
    images: list[ImageRun]
    observed_images: Annotated[list[ObservedImage], Field(max_length=limits.OBSERVED_IMAGES_MAX)]
    redaction: RedactionRecord
    logs: LogsRecord
    counts: CheckCounts
    verdict: Verdict

    def to_bytes(self) -> bytes:
        """Return the document as it stands in the bundle."""
        return layout.document_bytes(self.model_dump(mode="json", by_alias=True))


def load_record(data: bytes) -> RunRecord:
    """Read run.json strictly: an unknown member, anywhere, and a value that was written in another way are refused.

    Raises:
        EvidenceError: E2040, with the place.

    """
    try:
        plain = parse_json(data, what=layout.RUN, max_bytes=limits.RUN_RECORD_MAX)
        record = RunRecord.model_validate(plain)
    except InputError as fault:
        raise EvidenceError("E2040", fault.what, where=fault.where, why=fault.why) from fault
    except ValidationError as fault:
        first = fault.errors()[0]
        raise _broken(".".join(str(part) for part in first["loc"]), str(first["msg"])) from fault
    if record.record_schema != RUN_SCHEMA:
        found = ascii(record.record_schema)[:80]
        raise _broken("schema", f"{found} found, this version reads {RUN_SCHEMA}")
    if place := _difference(plain, record.model_dump(mode="json", by_alias=True), ""):
        raise _broken(place, "an unknown member, or a value of another type")
    return record


def _difference(found: object, understood: object, place: str) -> str:
    """Return the first place where `found` says something that `understood` does not; empty if there is none."""
    if isinstance(found, dict) and isinstance(understood, dict):
        for key, value in found.items():
            where = f"{place}.{key}".lstrip(".")
            if key not in understood:
                return where
            if inner := _difference(value, understood[key], where):
                return inner
        return ""
    if isinstance(found, list) and isinstance(understood, list) and len(found) == len(understood):
        pairs = enumerate(zip(found, understood, strict=True))
        return next((w for number, (a, b) in pairs if (w := _difference(a, b, f"{place}[{number}]"))), "")
    return "" if type(found) is type(understood) and found == understood else place or "document"


def _broken(where: str, why: str) -> EvidenceError:
    return EvidenceError("E2040", f"{layout.RUN} breaks its format", where=f"{layout.RUN} {where}", why=why)
