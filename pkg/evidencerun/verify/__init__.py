# SPDX-License-Identifier: Apache-2.0
"""Judging a bundle offline: everything it claims is derived again, and seven questions are answered in order.

files = evidencerun.bundle.read_archive(archive)
report = verify_bundle(files, now=datetime.now(UTC), key_pem=public_key)
"""

from evidencerun.verify.result import Answer, Outcome, Question, QuestionId, Signer, Subject, VerificationReport
from evidencerun.verify.run import verify_bundle

__all__ = [
    "Answer",
    "Outcome",
    "Question",
    "QuestionId",
    "Signer",
    "Subject",
    "VerificationReport",
    "verify_bundle",
]
