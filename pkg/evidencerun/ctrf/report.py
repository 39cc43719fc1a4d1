# SPDX-License-Identifier: Apache-2.0
"""The CTRF report of one phase (docs/spec §1): model, reader, writer and counts.

Times are milliseconds since 1970 or of duration. The summary of a report is never believed: `counts` counts the tests.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from evidencerun import limits
from evidencerun.canonical import parse_json
from evidencerun.errors import EvidenceError, InputError
from evidencerun.validation.storeapi import CheckStatus

REPORT_FORMAT: Final = "CTRF"
SPEC_VERSION: Final = "0.0.1"

Text = Annotated[str, Field(max_length=4096)]
Count = Annotated[int, Field(ge=0)]


def _as_list(value: object) -> object:
    return [value] if isinstance(value, str) else value


class _Member(BaseModel):
    model_config = ConfigDict(
        alias_generator=to_camel, validate_by_name=True, validate_by_alias=True, extra="ignore", frozen=True
    )


class CtrfTest(_Member):
    """One test: a check with the outcome of its last attempt. Drafts differ on `suite`: text reads as a list of one."""

    name: Text
    status: CheckStatus
    duration: Count = 0
    suite: Annotated[list[Text], BeforeValidator(_as_list), Field(max_length=16)] = []
    message: Text | None = None
    stdout: Annotated[list[Text], Field(max_length=limits.CTRF_STDOUT_LINES)] | None = None
    extra: dict[Text, Text] | None = None
    runtime_provenance: dict[str, Any] | None = None


class CtrfSummary(_Member):
    """What a report says about itself."""

    tests: Count
    passed: Count
    failed: Count
    skipped: Count
    pending: Count
    other: Count
    start: Count
    stop: Count


class CtrfTool(_Member):
    """Who wrote the report."""

    name: Text
    version: Text = ""


class CtrfResults(_Member):
    """The body of a report."""

    tool: CtrfTool
    summary: CtrfSummary
    tests: Annotated[list[CtrfTest], Field(max_length=limits.CTRF_TESTS_MAX)]
    environment: dict[str, Any] | None = None


class CtrfReport(_Member):
    """A report."""

    report_format: Text
    spec_version: Text
    timestamp: Text = ""
    generated_by: Text = ""
    results: CtrfResults


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusCounts:
    """How many tests ended in which way."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0
    pending: int = 0
    other: int = 0

    @property
    def tests(self) -> int:
        """All of them."""
        return self.passed + self.failed + self.skipped + self.pending + self.other

    @property
    def not_passed(self) -> int:
        """What the predicate calls failed: failed, other and pending (docs/spec §4)."""
        return self.failed + self.other + self.pending


def counts(tests: Sequence[CtrfTest]) -> StatusCounts:
    """Count the tests by status."""
    found = Counter(test.status.value for test in tests)
    return StatusCounts(**{status.value: found[status.value] for status in CheckStatus})


def load_ctrf(data: bytes, *, where: str) -> CtrfReport:
    """Read a report and check its summary against its tests.

    Raises:
        EvidenceError: E2030 it breaks the format, E2031 its summary is not what its tests add up to, or a test name
            stands twice.

    """
    try:
        plain = parse_json(data, what=where, max_bytes=limits.STATEMENT_MAX)
        report = CtrfReport.model_validate(plain)
    except InputError as fault:
        raise EvidenceError("E2030", fault.what, where=fault.where, why=fault.why) from fault
    except ValidationError as fault:
        first = fault.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise EvidenceError(
            "E2030", "the report breaks its format", where=f"{where} {place}", why=str(first["msg"])
        ) from fault
    if report.report_format != REPORT_FORMAT:
        raise EvidenceError("E2030", "the report is not CTRF", where=f"{where} reportFormat")
    _check_summary(report, where)
    return report


def write_ctrf(
    tests: Sequence[CtrfTest], *, tool: CtrfTool, timestamp: str, start: int, stop: int, environment: Mapping[str, str]
) -> bytes:
    """Return a report's bytes: two-space indentation and a final newline, members in the order of the model."""
    found = counts(tests)
    summary = {"tests": found.tests, "passed": found.passed, "failed": found.failed, "skipped": found.skipped}
    document = {
        "reportFormat": REPORT_FORMAT,
        "specVersion": SPEC_VERSION,
        "timestamp": timestamp,
        "generatedBy": tool.name,
        "results": {
            "tool": tool.model_dump(mode="json", by_alias=True),
            "summary": summary | {"pending": found.pending, "other": found.other, "start": start, "stop": stop},
            "tests": [test.model_dump(mode="json", by_alias=True, exclude_none=True) for test in tests],
            "environment": dict(environment),
        },
    }
    return (json.dumps(document, ensure_ascii=False, indent=2, allow_nan=False) + "\n").encode()


def _check_summary(report: CtrfReport, where: str) -> None:
    found, said = counts(report.results.tests), report.results.summary
    for name in ("tests", "passed", "failed", "skipped", "pending", "other"):
        if getattr(found, name) != getattr(said, name):
            raise EvidenceError(
                "E2031",
                "the summary is not what the tests add up to",
                where=f"{where} results.summary.{name}",
                why=f"{getattr(said, name)} claimed, {getattr(found, name)} counted",
            )
    names = Counter(test.name for test in report.results.tests)
    if twice := [name for name, count in names.items() if count > 1]:
        raise EvidenceError("E2031", "a test stands twice", where=where, why=twice[0][:120])
