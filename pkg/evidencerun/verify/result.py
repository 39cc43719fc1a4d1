# SPDX-License-Identifier: Apache-2.0
"""The verification report: seven questions with their answers, one outcome, one exit code (schema below).

Texts come from the bundle as they are: whoever prints them escapes them.
"""

from __future__ import annotations

from enum import IntEnum, StrEnum
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from evidencerun.validation.storeapi import CheckCounts, Verdict

REPORT_SCHEMA: Final = "https://evidencerun.dev/schemas/verification-report/v1"


class Outcome(IntEnum):
    """What a verification ends with; the numbers are the exit codes of `evr verify`."""

    ACCEPTED = 0
    CHECKS_FAILED = 10
    INCOMPLETE = 11
    STALE = 12
    UNTRUSTED_SIGNER = 13
    MISMATCH = 14
    INVALID = 20
    UNSIGNED = 21


class Answer(StrEnum):
    """The answer to one question."""

    YES = "yes"
    NO = "no"
    NOT_ASKED = "not-asked"
    """The caller gave nothing to judge it by."""
    NOT_JUDGED = "not-judged"
    """An earlier answer was no."""


class QuestionId(StrEnum):
    """The seven questions, in their order."""

    INTACT = "intact"
    SIGNER = "signer"
    RECIPE = "recipe"
    COMPLETE = "complete"
    PASSED = "passed"
    RECENT = "recent"
    POLICY = "policy"


QUESTION_TEXTS: Final = {
    QuestionId.INTACT: "Are the bytes intact?",
    QuestionId.SIGNER: "Who signed?",
    QuestionId.RECIPE: "Is it about this recipe?",
    QuestionId.COMPLETE: "Did everything required run?",
    QuestionId.PASSED: "Did it pass?",
    QuestionId.RECENT: "Is it recent?",
    QuestionId.POLICY: "Does the policy accept it?",
}


class ReportModel(BaseModel):
    """camelCase in JSON, frozen."""

    model_config = ConfigDict(alias_generator=to_camel, validate_by_name=True, validate_by_alias=True, frozen=True)


class Question(ReportModel):
    """One question. `code` names the reason of a no (documented, stable); `lines` say more, one fact each."""

    number: Annotated[int, Field(ge=1, le=7)]
    id: QuestionId
    question: str
    answer: Answer
    code: str = ""
    detail: str = ""
    lines: list[str] = []


class Signer(ReportModel):
    """Who the bundle says signed it. Only if `verified` does the signature belong to the key that the caller named."""

    identity: str
    verified: bool


class Subject(ReportModel):
    """What the bundle is about. Digests carry `sha256:`, but for the recipe's. Empty texts are not known."""

    recipe_name: str = ""
    recipe_digest: str = ""
    predicate_type: str = ""
    inventory_digest: str = ""
    artifact_digest: str = ""
    """Of the OCI manifest that the signature names; its layer is not at hand here."""
    run: str = ""
    run_uid: str = ""
    sealed_at: str = ""


class VerificationReport(ReportModel):
    """The whole answer. Members after `questions` are empty as far as nothing was judged."""

    report_schema: Annotated[str, Field(alias="schema")] = REPORT_SCHEMA
    outcome: str
    exit_code: int
    summary: str
    questions: Annotated[list[Question], Field(min_length=7, max_length=7)]
    subject: Subject = Subject()
    signer: Signer | None = None
    verdict: Verdict | None = None
    counts: CheckCounts | None = None
    match: dict[str, Any] | None = None
    hardware_claim: str = ""
    synthetic: list[str] = []
    warnings: list[str] = []
    not_derived: list[str] = []
    does_not_prove: list[str] = []
    verifier: str = ""
