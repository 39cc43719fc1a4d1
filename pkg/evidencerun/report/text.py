# SPDX-License-Identifier: Apache-2.0
"""A verification report as text for a terminal. Everything that comes from a bundle is escaped here."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from evidencerun.bundle.escape import plain_text
from evidencerun.report.words import one_line, recipe_title
from evidencerun.verify.result import Answer, Outcome, Question, VerificationReport

_WORDS: Final = {
    Answer.YES: "yes",
    Answer.NO: "NO",
    Answer.NOT_ASKED: "not asked",
    Answer.NOT_JUDGED: "not judged",
}
_QUESTION_WIDTH: Final = 32
_ANSWER_WIDTH: Final = 11


def render(report: VerificationReport) -> str:
    """Return the report's text, with a final newline. A word of success stands in it only if the exit code is 0."""
    return "\n".join(_lines(report)) + "\n"


def _lines(report: VerificationReport) -> Iterator[str]:
    yield f"{report.outcome} (exit {report.exit_code})  {report.summary}"
    if report.subject.run or report.subject.recipe_name:
        yield ""
        yield from _subject(report)
    yield ""
    judged = [question for question in report.questions if question.answer is not Answer.NOT_JUDGED]
    for question in judged:
        yield from _question(question)
    if len(judged) < len(report.questions):
        first = judged[-1].number + 1
        numbers = f"{first}-7" if first < 7 else "7"
        yield f"  {numbers:<4}not judged, because the answer to question {judged[-1].number} is no"
    yield from _claims(report)


def _subject(report: VerificationReport) -> Iterator[str]:
    subject = report.subject
    run = f"run {plain_text(subject.run)}, " if subject.run else ""
    yield f"  {run}recipe {plain_text(recipe_title(subject.recipe_name))}, sealed {plain_text(subject.sealed_at)}"
    if report.verdict is not None and report.counts is not None:
        counts = report.counts
        yield (
            f"  verdict {report.verdict.value}: {counts.declared} declared, {counts.passed} passed, "
            f"{counts.failed} failed, {counts.skipped} skipped, {counts.other} other"
        )
    if report.synthetic:
        markers = ", ".join(plain_text(marker) for marker in report.synthetic)
        yield f"  SYNTHETIC: the hardware is simulated ({markers})"


def _question(question: Question) -> Iterator[str]:
    head = f"  {question.number} {question.question:<{_QUESTION_WIDTH}}{_WORDS[question.answer]:<{_ANSWER_WIDTH}}"
    code = f"  [{question.code}]" if question.code else ""
    yield f"{head}{plain_text(question.detail)}{code}".rstrip()
    margin = " " * (4 + _QUESTION_WIDTH + _ANSWER_WIDTH)
    for line in question.lines:
        yield f"{margin}{plain_text(one_line(line))}"


def _claims(report: VerificationReport) -> Iterator[str]:
    if report.hardware_claim:
        yield ""
        yield f"  Hardware: {plain_text(report.hardware_claim)}."
    for warning in report.warnings:
        yield f"  Warning: {plain_text(warning)}."
    if report.exit_code in (Outcome.INVALID, Outcome.UNTRUSTED_SIGNER, Outcome.UNSIGNED):
        return
    if report.not_derived:
        yield f"  Not derived again: {', '.join(plain_text(name) for name in report.not_derived)}."
    for sentence in report.does_not_prove:
        yield f"  Does not prove: {plain_text(sentence)}."
    yield f"  Checked offline by evr {plain_text(report.verifier)}."
