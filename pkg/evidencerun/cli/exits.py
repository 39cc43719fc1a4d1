# SPDX-License-Identifier: Apache-2.0
"""The exit codes of `evr`: a frozen contract, printed by `evr help exit-codes`.

Bands: 1x authentic but not acceptable, 2x do not believe, 3x try again, 4x mend the surroundings.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from evidencerun.errors import ClusterError, Error, EvidenceError, InputError


class Exit(IntEnum):
    """One code for one meaning, stable across versions."""

    ACCEPTED = 0
    INTERNAL = 1
    USAGE = 2
    CHECKS_FAILED = 10
    INCOMPLETE = 11
    STALE = 12
    UNTRUSTED_SIGNER = 13
    MISMATCH = 14
    INVALID = 20
    UNSIGNED = 21
    NO_VERDICT = 30
    WAIT_TIMEOUT = 31
    CANCELLED = 32
    PREFLIGHT = 40
    FORBIDDEN = 41
    INTERRUPTED = 130
    BROKEN_PIPE = 141


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a code says and what to do about it."""

    text: str
    advice: str


MEANINGS: dict[Exit, Meaning] = {
    Exit.ACCEPTED: Meaning("no question that was asked was answered no", "pass"),
    Exit.INTERNAL: Meaning("a bug or an unexpected error", "report it"),
    Exit.USAGE: Meaning("wrong flags, or an input file or object that is refused", "mend the call or the file"),
    Exit.CHECKS_FAILED: Meaning("authentic evidence that records failed checks", "a reviewer decides"),
    Exit.INCOMPLETE: Meaning("authentic, but checks or nodes are missing, or unproven", "reject or run again"),
    Exit.STALE: Meaning("authentic, but about another recipe, or too old", "refresh the evidence"),
    Exit.UNTRUSTED_SIGNER: Meaning("signed, but nobody said that this signer is trusted", "decide on the signer"),
    Exit.MISMATCH: Meaning("authentic, but the cluster is not what the recipe asks for", "reject"),
    Exit.INVALID: Meaning("signature, digest, schema or structure is wrong", "do not trust it"),
    Exit.UNSIGNED: Meaning("no signature where one is needed", "have it signed"),
    Exit.NO_VERDICT: Meaning("cluster, network, registry or store prevented an answer", "try again"),
    Exit.WAIT_TIMEOUT: Meaning("the run still goes on in the cluster", "attach again"),
    Exit.CANCELLED: Meaning("the run was cancelled", "delete it and apply it again if it is still wanted"),
    Exit.PREFLIGHT: Meaning("the cluster does not meet the recipe's readiness constraints", "mend the cluster"),
    Exit.FORBIDDEN: Meaning("a permission is missing; verb and resource are printed", "mend the access"),
    Exit.INTERRUPTED: Meaning("interrupted at the terminal; a run in the cluster goes on", "attach again"),
    Exit.BROKEN_PIPE: Meaning("whoever read the output went away before its end", "read all of it"),
}

VERDICT_EXITS: dict[str, Exit] = {
    "Passed": Exit.ACCEPTED,
    "FingerprintOnly": Exit.ACCEPTED,
    "ChecksFailed": Exit.CHECKS_FAILED,
    "Incomplete": Exit.INCOMPLETE,
    "Mismatched": Exit.MISMATCH,
    "NotReady": Exit.PREFLIGHT,
    "Error": Exit.NO_VERDICT,
    "Cancelled": Exit.CANCELLED,
    "Rejected": Exit.USAGE,
}
"""The exit code of `evr run --wait` and `evr status --wait` for each verdict of a run."""


_OF_VERIFY = (
    "Without --wait they exit with 0 as soon as the question is answered, whatever the answer is.",
    "evr verify exits with the code of the first question that is answered no, so a bundle of a run that was",
    "cancelled, not ready or only a fingerprint is 11: authentic, and nothing has passed. Question 4 (complete) comes",
    "before 5 (passed): a run with failed and with unfinished checks is 11, although its verdict is ChecksFailed.",
)


def exit_for_error(error: Error) -> Exit:
    """Return the exit code of an error that ended a command."""
    if isinstance(error, InputError):
        return Exit.USAGE
    if isinstance(error, EvidenceError):
        return Exit.INVALID
    if isinstance(error, ClusterError) and error.status in (401, 403):
        return Exit.FORBIDDEN
    return Exit.NO_VERDICT


def table() -> str:
    """Return the table as text, one line per code."""
    rows = [f"{int(code):>4}  {code.name:<17}  {MEANINGS[code].text} ({MEANINGS[code].advice})" for code in Exit]
    rows += ["", "evr run --wait and evr status --wait exit with the code of the verdict:", ""]
    rows += [f"  {verdict:<15}  {int(code):>2}" for verdict, code in VERDICT_EXITS.items()]
    return "\n".join([*rows, "", *_OF_VERIFY])
