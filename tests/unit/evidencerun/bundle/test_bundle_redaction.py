# SPDX-License-Identifier: Apache-2.0
"""Nothing that identifies leaves the cluster, nothing that was measured is changed, and what fired is recorded."""

from __future__ import annotations

import json
import re

import pytest
from composed_run import RECIPE, node
from hypothesis import given, settings
from hypothesis import strategies as st

from evidencerun.bundle import layout
from evidencerun.bundle.assemble import assemble
from evidencerun.bundle.redaction import Redactor
from evidencerun.fingerprint import fingerprint
from evidencerun.recipe import load_recipe
from evidencerun.snapshot.assemble import ServerInfo, assemble_snapshot
from evidencerun.snapshot.nodes import NodesDocument, nodes_document
from evidencerun.validation.readiness import evaluate_readiness

KEY = b"k" * 32
LEAKS = re.compile(
    rb"worker-[0-9]|0f3c9a52-7a55|1b4e28ba|4c4c4544|9a8b7c6d|docker/lab|/proc/sys/kernel/hostname|lab\.example\.com"
)


def test_no_identifier_of_a_node_is_in_the_bundle(composed_run, compose_attempt, compose_node):
    told = "Pod on worker-1.lab.example.com (10.1.2.3, 4c4c4544-0042-3510-8043-b4c04f4a3231) failed"
    silent = compose_node(3, state="missing", report=None, reason="node worker-3.lab.example.com: timeout", podUid="")
    run = composed_run.with_changes(
        nodes=(compose_node(1), compose_node(2), silent),
        attempts=(compose_attempt("expected-resources", status="failed", message=told),),
        seal={"reason": "deadline", "message": "worker-2.lab.example.com never answered"},
    )
    bundle = assemble(run.inputs())
    for path, data in bundle.files.items():
        assert not LEAKS.search(data), path
        assert b"10.1.2.3" not in data, path
    assert b"failed" in bundle.files["ctrf/deployment.json"]


def test_without_redaction_everything_stays(composed_run):
    bundle = assemble(composed_run.with_changes(policy={"redaction": "none"}).inputs())
    assert b"worker-1.lab.example.com" in bundle.files[layout.NODES]
    assert "redaction" not in json.loads(bundle.files[layout.STATEMENT])["predicate"]
    assert json.loads(bundle.files[layout.RUN])["redaction"] == {"policy": "none", "version": "", "fired": {}}


def test_what_fired_is_counted(composed_run):
    fired = json.loads(assemble(composed_run.inputs()).files[layout.RUN])["redaction"]["fired"]
    assert fired["nodes.hash:uid"] == 2
    assert fired["nodes.measurements.allowlist"] == 2
    assert "ctrf.tests.omit:message" not in fired


def test_messages_of_checks_that_are_not_ours_are_left_out(composed_run, compose_catalog, compose_attempt):
    foreign = compose_catalog("expected-resources", image="registry.example.com/theirs@sha256:" + "8" * 64)
    checks = ({"name": "expected-resources", "phase": "deployment", "entry": foreign},)
    attempts = (compose_attempt("expected-resources", status="failed", message="secret host h-17"),)
    bundle = assemble(composed_run.with_changes(checks=checks, attempts=attempts).inputs())
    test = json.loads(bundle.files["ctrf/deployment.json"])["results"]["tests"][0]
    assert test["message"] == "failed with exit code 1"
    assert json.loads(bundle.files[layout.RUN])["redaction"]["fired"]["ctrf.tests.omit:message"] == 1
    assert not any(b"h-17" in data for data in bundle.files.values())


def test_extra_is_an_allow_list(composed_run, compose_attempt):
    line = b'##AICR-EXTRA## {"nodesTotal": "4", "nodesValidated": "many", "host": "h-17", "skipReason": "because"}\n'
    attempts = (compose_attempt("expected-resources", log=b"x\n" + line), compose_attempt("node-agreement"))
    bundle = assemble(composed_run.with_changes(attempts=attempts).inputs())
    test = json.loads(bundle.files["ctrf/deployment.json"])["results"]["tests"][0]
    assert test["extra"] == {"nodesTotal": "4"}
    assert json.loads(bundle.files[layout.RUN])["redaction"]["fired"]["ctrf.tests.extra.allowlist"] == 3


def test_equal_stays_equal_and_keys_differ(compose_node):
    shared = compose_node(2)
    shared["facts"]["bootId"] = shared["report"]["bootId"] = compose_node(1)["facts"]["bootId"]
    document = NodesDocument.model_validate({"nodes": [compose_node(1), shared]})
    first, second = Redactor(KEY).nodes(document), Redactor(b"o" * 32).nodes(document)
    assert first.nodes[0].boot_id == first.nodes[1].boot_id
    assert first.nodes[0].facts.name != first.nodes[1].facts.name
    assert first.nodes[0].facts.name != second.nodes[0].facts.name


def test_text_uses_the_same_names_as_the_nodes(compose_node):
    redactor = Redactor(KEY)
    found = redactor.nodes(NodesDocument.model_validate({"nodes": [compose_node(1)]}))
    assert redactor.text("on worker-1.lab.example.com.") == f"on {found.nodes[0].facts.name}."


def test_a_reading_that_a_constraint_names_is_kept(compose_node):
    path = "OS.sysctl./proc/sys/kernel/hostname"
    document = NodesDocument.model_validate({"nodes": [compose_node(1)]})
    report = Redactor(KEY, constraint_paths=[path]).nodes(document).nodes[0].report
    assert report is not None
    assert report.measurements["OS.sysctl"]["/proc/sys/kernel/hostname"] == "worker-1.lab.example.com"


def test_a_short_key_is_refused():
    with pytest.raises(ValueError, match="shorter"):
        Redactor(b"short")


RECIPES = [
    load_recipe(RECIPE),
    load_recipe(RECIPE.replace(b"service: any", b"service: eks").replace(b"none", b"h100")),
]
GPU = {
    "address": "0000:17:00.0", "vendor": "10de", "device": "2330", "classCode": "030200", "subsystem": "10de:16c1",
    "driver": "nvidia",
}  # fmt: skip
PROVIDERS = ["aws:///us-east-1a/i-0abc", "gce://proj/zone/name", "azure:///subscriptions/x", "", "ocid1.instance.oc1.x"]


@settings(max_examples=60, deadline=None)
@given(
    nodes=st.lists(
        st.fixed_dictionaries(
            {
                "provider": st.sampled_from(PROVIDERS),
                "name": st.sampled_from(["ubuntu", "worker", "h100", "kind", "debian", "linux"]),
                "os": st.sampled_from(["ubuntu", "debian"]),
                "gpus": st.integers(0, 2),
                "heard": st.booleans(),
                "region": st.sampled_from(["", "us-east-1", "eu-west-2"]),
            }
        ),
        min_size=1,
        max_size=4,
    )
)
def test_the_redacted_documents_say_what_the_raw_ones_say(nodes):
    entries = []
    for number, wanted in enumerate(nodes, 1):
        entry = node(number)
        facts, report = entry["facts"], entry["report"]
        facts["providerId"] = wanted["provider"]
        facts["name"] = facts["labels"]["kubernetes.io/hostname"] = f"{wanted['name']}{'' if number == 1 else number}"
        report["nodeName"] = facts["name"]
        report["measurements"]["OS.release"]["ID"] = wanted["os"]
        report["signals"]["os"][0] |= {"raw": wanted["os"], "value": wanted["os"]}
        report["pci"] += [GPU] * wanted["gpus"]
        if wanted["region"]:
            facts["labels"]["topology.kubernetes.io/region"] = wanted["region"]
        if not wanted["heard"]:
            entry |= {"state": "missing", "report": None, "reason": "timeout"}
        entries.append(entry)
    raw = nodes_document(NodesDocument.model_validate({"nodes": entries}).nodes)
    redacted = Redactor(KEY).nodes(raw)
    said = []
    for document in (raw, redacted):
        snapshot = assemble_snapshot(document, server=ServerInfo(git_version="v1.36.3"), taken_at="t", version="v")
        found = fingerprint(snapshot, document)
        said.append(
            (
                found.aicr_members(),
                [found.match(recipe) for recipe in RECIPES],
                [evaluate_readiness(recipe, snapshot) for recipe in RECIPES],
                found.trust.markers,
                found.shared_kernel,
            )
        )
    assert said[0] == said[1]
