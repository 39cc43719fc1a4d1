# SPDX-License-Identifier: Apache-2.0
"""Collects answers in the order of the questions; after the first no, the rest is not judged."""

from __future__ import annotations

from dataclasses import dataclass, field

from evidencerun.verify.result import QUESTION_TEXTS, Answer, Outcome, Question, QuestionId

_ORDER = tuple(QuestionId)


@dataclass(slots=True, kw_only=True)
class Interrogation:
    """The answers so far. `outcome` is that of the first no."""

    outcome: Outcome = Outcome.ACCEPTED
    questions: list[Question] = field(default_factory=list)

    @property
    def open(self) -> bool:
        """Whether no question was answered no."""
        return self.outcome is Outcome.ACCEPTED

    def yes(self, detail: str, *lines: str) -> None:
        """Answer the next question with yes."""
        self._add(Answer.YES, detail=detail, lines=list(lines))

    def skip(self, detail: str) -> None:
        """Say that nobody asked the next question."""
        self._add(Answer.NOT_ASKED, detail=detail)

    def no(self, outcome: Outcome, code: str, detail: str, *lines: str) -> None:
        """Answer the next question with no; the outcome is this one's."""
        self._add(Answer.NO, code=code, detail=detail, lines=list(lines))
        self.outcome = outcome

    def finish(self) -> list[Question]:
        """Return all seven; what is left is not judged."""
        while len(self.questions) < len(_ORDER):
            self._add(Answer.NOT_JUDGED)
        return self.questions

    def _add(self, answer: Answer, *, code: str = "", detail: str = "", lines: list[str] | None = None) -> None:
        identity = _ORDER[len(self.questions)]
        self.questions.append(
            Question(
                number=len(self.questions) + 1,
                id=identity,
                question=QUESTION_TEXTS[identity],
                answer=answer,
                code=code,
                detail=detail,
                lines=lines or [],
            )
        )
