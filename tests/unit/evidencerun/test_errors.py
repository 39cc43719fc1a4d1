# SPDX-License-Identifier: Apache-2.0
"""Errors: their texts, and that they survive the way out of a worker process."""

from __future__ import annotations

import copy
import pickle

import pytest

from evidencerun.attest.sigstore_bundle import UncheckableSignatureError
from evidencerun.errors import ClusterError, Error, EvidenceError, InputError, StoreError
from evidencerun.oci.faults import refusal
from evidencerun.probe.reading import Reading, SourceFailedError
from evidencerun.snapshot.report import UnknownReason
from evidencerun.storeclient import StoreRefusedError


def test_the_text_for_people_has_a_line_for_each_part() -> None:
    error = InputError("E1999", "it is bad", where="a.yaml:3", why="found x, expected y", fix="write y")
    assert error.diagnostics() == "E1999 a.yaml:3: it is bad\n  cause: found x, expected y\n  fix:   write y"
    assert str(error) == "a.yaml:3: it is bad (found x, expected y)"


def test_parts_that_are_not_known_leave_nothing_behind() -> None:
    assert InputError("E1999", "it is bad").diagnostics() == "E1999 it is bad"
    assert str(InputError("E1999", "it is bad")) == "it is bad"


ERRORS = [
    InputError("E1999", "what", where="where", why="why", fix="fix"),
    EvidenceError("E2999", "what"),
    StoreError("E7001", "what", retryable=False),
    ClusterError("E3005", "what", where="path", status=404, reason="NotFound"),
    StoreRefusedError("what", status=429, retry_after=7.0, why="busy"),
    SourceFailedError(UnknownReason.TIMEOUT, "slow", partial=Reading(boot_id="b")),
    UncheckableSignatureError("E2211", "what"),
    refusal(503, "GET registry", b""),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("again", [copy.copy, lambda error: pickle.loads(pickle.dumps(error))], ids=["copy", "pickle"])
def test_an_error_is_the_same_on_the_other_side_of_a_process(error: Error, again: object) -> None:
    assert callable(again)
    found = again(error)
    assert type(found) is type(error)
    assert found.__dict__ == error.__dict__
    assert (str(found), found.args) == (str(error), error.args)
