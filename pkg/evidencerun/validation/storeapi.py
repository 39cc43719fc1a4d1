# SPDX-License-Identifier: Apache-2.0
"""What the store and its callers say to each other (docs/architecture.md): bodies, paths and audiences.

All bodies are JSON, camelCase. Errors are Kubernetes `Status` objects, so that `kubectl get --raw` prints them.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Final

from pydantic import AfterValidator, Field

from evidencerun.validation.spec import Name, Phase, SpecModel

STORE_AUDIENCE: Final = "https://evidencerun.dev/store"
"""Audience of the operator's and the sealer's token."""
Text = Annotated[str, Field(max_length=4096)]


def probe_audience(run_uid: str) -> str:
    """Return the audience of a probe's token."""
    return f"https://evidencerun.dev/run/{run_uid}/probe"


def check_audience(run_uid: str, check: str, attempt: int) -> str:
    """Return the audience of a check sidecar's token."""
    return f"https://evidencerun.dev/run/{run_uid}/check/{check}/{attempt}"


class SealReason(StrEnum):
    """Why the run went to Sealing."""

    FINISHED = "finished"
    """Every phase came to its end."""
    NOT_READY = "not-ready"
    CANCELLED = "cancelled"
    DEADLINE = "deadline"
    ERROR = "error"


class Verdict(StrEnum):
    """The verdict of a run; the first that applies, in this order (docs/architecture.md)."""

    REJECTED = "Rejected"
    CANCELLED = "Cancelled"
    ERROR = "Error"
    NOT_READY = "NotReady"
    MISMATCHED = "Mismatched"
    CHECKS_FAILED = "ChecksFailed"
    INCOMPLETE = "Incomplete"
    FINGERPRINT_ONLY = "FingerprintOnly"
    PASSED = "Passed"


class CheckStatus(StrEnum):
    """CTRF's five statuses."""

    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"
    PENDING = "pending"
    OTHER = "other"


class AttemptState(StrEnum):
    """Where an attempt is."""

    CREATED = "created"
    """In the ledger; its Job may exist."""
    RUNNING = "running"
    """Its pod is known, its log is followed."""
    ENDED = "ended"


class PodRef(SpecModel):
    """The pod of an attempt."""

    name: Text
    uid: Text
    node_name: Text = ""


_ZERO_TIMES: Final = frozenset({"1970-01-01T00:00:00Z", "0001-01-01T00:00:00Z"})


def _without_zero(moment: str) -> str:
    """Return no time for a runtime's zero: it stands for a container that was made and could not be started."""
    return "" if moment in _ZERO_TIMES else moment


Moment = Annotated[Text, AfterValidator(_without_zero)]
"""RFC 3339; empty if nobody saw it."""


class ContainerEnding(SpecModel):
    """How the container `validator` ended, or why it never started; from the pod's status."""

    exit_code: int | None = None
    signal: int | None = None
    reason: Text = ""
    """The kubelet's word: Completed, Error, OOMKilled, DeadlineExceeded, ImagePullBackOff, Evicted, NodeLost …"""
    message: Text = ""
    """/dev/termination-log, or the API's message if it never started."""
    started_at: Moment = ""
    finished_at: Moment = ""
    image: Text = ""
    image_id: Text = ""
    """What the kubelet ran, with its digest; empty if it never started."""


class AttemptRequest(SpecModel):
    """`POST /v1/runs/{uid}/attempts`: one ledger entry, or news of it. Idempotent per (check, attempt, state)."""

    check: Name
    phase: Phase
    attempt: Annotated[int, Field(ge=1)]
    job_name: Text
    image: Text = ""
    state: AttemptState
    pod: PodRef | None = None
    ending: ContainerEnding | None = None
    """What the operator saw; the store reads the pod itself and prefers that."""


class AttemptView(SpecModel):
    """An attempt as the store knows it."""

    check: Name
    phase: Phase
    attempt: int
    job_name: Text
    created_at: Text = ""
    """When the store entered it into its ledger."""
    state: AttemptState
    status: CheckStatus = CheckStatus.PENDING
    started: bool = False
    """Whether its container is known to have started; only such an attempt counts as executed."""
    reason: Text = ""
    """A closed word such as `not-in-catalog`, `oom-killed`, `timeout`, `image-pull`; empty for passed and failed."""
    message: Text = ""
    log_bytes: int = 0
    log_complete: bool = False
    log_reason: Text = ""
    """Why the log is not complete."""
    results: list[Text] = Field(default_factory=list, max_length=64)


class DimensionView(SpecModel):
    """One row of `status.match.dimensions`."""

    name: Text
    recipe: Text
    observed: Text
    outcome: Text


class ConstraintView(SpecModel):
    """One constraint of the readiness gate."""

    name: Text
    expected: Text
    found: Text
    outcome: Text
    """satisfied, violated or unknown."""
    severity: Text = "error"
    reason: Text = ""


class Evaluation(SpecModel):
    """Answer of `POST …/evaluate`: match and readiness over the merged reports."""

    taken_at: Text = ""
    """When the reports were merged into the snapshot; RFC 3339, UTC."""
    overall: Text
    """matched, mismatched, unproven or not-asked; `matched (synthetic)` if the hardware is simulated."""
    dimensions: list[DimensionView]
    ready: bool
    constraints: list[ConstraintView]
    reported: int
    failed: int
    missing: int
    coverage_met: bool
    markers: list[Text] = Field(default_factory=list)


class SealRequest(SpecModel):
    """`POST …/seal`."""

    reason: SealReason
    message: Text = ""
    started_at: Text = ""
    stragglers: dict[Text, Text] = Field(default_factory=dict, max_length=5000)
    """Node uid to the API's own words on why it has not reported."""


class SealState(StrEnum):
    """Where sealing is."""

    NONE = "none"
    QUEUED = "queued"
    """Assembled; waits for the sealer."""
    SEALED = "sealed"
    UNSIGNED = "unsigned"
    """Assembled under a policy that does not sign."""
    FAILED = "failed"
    """The sealer refused or could not sign; `reason` says why; it is tried again."""


class BundleView(SpecModel):
    """`status.bundle` without what delivery adds."""

    archive_digest: Text = ""
    manifest_digest: Text = ""
    """Of the OCI manifest; the signature's first subject."""
    inventory_digest: Text = ""
    """Of manifest.json; the signature's second subject."""
    logs_digest: Text = ""
    logs_key: Text = ""
    """128 random bits, hex; only its holder can fetch the logs."""
    size: int = 0
    signer: Text = ""


class CheckCounts(SpecModel):
    """Denominators. `other` includes pending and not-in-catalog; `executed` are those whose container started."""

    declared: int = 0
    executed: int = 0
    passed: int = 0
    failed: int = 0
    skipped: int = 0
    other: int = 0
    attempts: int = 0


class RunView(SpecModel):
    """`GET /v1/runs/{uid}`: bounded, cheap."""

    uid: Text
    plan_digest: Text
    reported: list[Text]
    """Uids of the target nodes whose report is stored."""
    evaluation: Evaluation | None = None
    attempts: list[AttemptView]
    seal: SealState = SealState.NONE
    seal_reason: Text = ""
    verdict: Verdict | None = None
    counts: CheckCounts = CheckCounts()
    bundle: BundleView | None = None
    closed: bool = False
    durable: bool = True
    """Whether the store's data outlives its pod (EVIDENCERUN_PERSISTENT)."""
    volume_trouble: Text = ""
    """Why the store cannot keep what it is given now, such as a full volume."""


class SealTask(SpecModel):
    """`GET /v1/seal`: the next bundle to sign, 204 if there is none."""

    run_uid: Text
    manifest_digest: Text
    """Of the OCI manifest below."""
    oci_manifest: Text
    """Base64 of the OCI manifest's bytes."""
    signing_mode: Text


class SealAnswer(SpecModel):
    """`PUT /v1/seal/{manifestDigest}`: the Sigstore bundle as text, or the reason why there is none."""

    attestation: Annotated[str, Field(max_length=1_000_000)] = ""
    signer: Text = ""
    error_code: Text = ""
    error: Text = ""
