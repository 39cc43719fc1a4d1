# SPDX-License-Identifier: Apache-2.0
"""An operator does not start on CRDs that are missing or older: they would drop parts of its status silently."""

import copy

import pytest

from evidencerun.errors import ClusterError, InputError
from evidencerun_operator import crd
from evidencerun_operator.crd_age import missing_fields, sentence
from evidencerun_operator.main import require_crds


def served():
    schemas = {}
    for document in (crd.evidence_run(), crd.evidence_policy()):
        kind = document["spec"]["names"]["kind"]
        schema = copy.deepcopy(document["spec"]["versions"][0]["schema"]["openAPIV3Schema"])
        schema["x-kubernetes-group-version-kind"] = [{"group": crd.GROUP, "version": crd.VERSION, "kind": kind}]
        schemas[f"dev.evidencerun.{crd.VERSION}.{kind}"] = schema
    return {"components": {"schemas": schemas}}


def older():
    document = served()
    run = document["components"]["schemas"]["dev.evidencerun.v1alpha1.EvidenceRun"]["properties"]
    del run["status"]["properties"]["bundle"]
    del run["status"]["properties"]["conditions"]["items"]["properties"]["observedGeneration"]
    return document


class Served:
    def __init__(self, answer):
        self.answer = answer

    async def openapi(self, resource, *, within=20):
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


async def test_the_crds_of_this_release_are_fine():
    assert missing_fields(served()) == []
    await require_crds(Served(served()), patience=0)


async def test_older_ones_are_refused_by_name():
    assert missing_fields(older()) == ["EvidenceRun.status.bundle", "EvidenceRun.status.conditions.observedGeneration"]
    with pytest.raises(InputError) as caught:
        await require_crds(Served(older()), patience=0)
    assert caught.value.code == "E3602"
    assert "EvidenceRun.status.bundle" in caught.value.why
    assert "kubectl apply --server-side" in caught.value.fix


@pytest.mark.parametrize("document", [{}, {"components": {"schemas": {"x": None}}}])
async def test_none_at_all_is_refused(document):
    with pytest.raises(InputError):
        await require_crds(Served(document), patience=0)
    absent = ClusterError("E3005", "no such object", status=404)
    with pytest.raises(InputError):
        await require_crds(Served(absent), patience=0)


async def test_a_server_that_is_away_is_not_taken_for_one_without_crds():
    with pytest.raises(ClusterError):
        await require_crds(Served(ClusterError("E3001", "away")), patience=0)


def test_a_long_list_is_shortened():
    assert sentence([f"f{index}" for index in range(12)]).endswith("f9 and 2 more")
