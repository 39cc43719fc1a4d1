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
from evidencerun.verify.duties import verify_unsigned

KEY = b"k" * 32
LEAKS = re.compile(
    rb"worker-[0-9]|0f3c9a52-7a55|1b4e28ba|4c4c4544|9a8b7c6d|docker/lab|/proc/sys/kernel/hostname|lab\.example\.com"
)


def redacted(redactor, document):
    redactor.learn(document.nodes)
    return nodes_document([redactor.entry(entry) for entry in document.nodes])


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
    first, second = redacted(Redactor(KEY), document), redacted(Redactor(b"o" * 32), document)
    assert first.nodes[0].boot_id == first.nodes[1].boot_id
    assert first.nodes[0].facts.name != first.nodes[1].facts.name
    assert first.nodes[0].facts.name != second.nodes[0].facts.name


def test_text_uses_the_same_names_as_the_nodes(compose_node):
    redactor = Redactor(KEY)
    found = redacted(redactor, NodesDocument.model_validate({"nodes": [compose_node(1)]}))
    assert redactor.text("on worker-1.lab.example.com.") == f"on {found.nodes[0].facts.name}."


def test_a_reading_that_a_constraint_names_is_kept(compose_node):
    path = "OS.sysctl./proc/sys/kernel/hostname"
    document = NodesDocument.model_validate({"nodes": [compose_node(1)]})
    report = redacted(Redactor(KEY, constraint_paths=[path]), document).nodes[0].report
    assert report is not None
    assert report.measurements["OS.sysctl"]["/proc/sys/kernel/hostname"] == "worker-1.lab.example.com"


def test_a_short_key_is_refused():
    with pytest.raises(ValueError, match="shorter"):
        Redactor(b"short")


def says(**report):
    """Return the change that makes a node's probe say something else."""
    return lambda entry: entry["report"].update(report)


def is_called(name, **labels):
    def change(entry):
        entry["facts"]["name"] = entry["report"]["nodeName"] = name
        entry["facts"]["labels"].update(labels)

    return change


def read_nothing(reason):
    return [{"name": "pci", "level": "L1", "state": "failed", "reason": reason, "milliseconds": 1}]


GPU = {
    "address": "0000:17:00.0", "vendor": "10de", "device": "2330", "classCode": "030200", "subsystem": "10de:16c1",
    "driver": "nvidia",
}  # fmt: skip
ADDRESSES = ("1.1.1.1 " * 512)[:4096]
HOSTILE_NODES = {
    "a reason that grows when addresses are replaced": says(sources=read_nothing(ADDRESSES)),
    "a reading that grows when addresses are replaced": says(
        signals={"os": [{"id": "x", "tier": "T2", "level": "L1", "raw": ADDRESSES, "value": ""}]}
    ),
    "a boot id that is a reason": says(bootId="timeout", sources=read_nothing("timeout: gave up")),
    "a boot id that is a reason among blanks": says(bootId="timeout", sources=read_nothing(" timeout : gave up")),
    "the name of what marks a simulated node": is_called("kwok", type="kwok"),
    "a region of its own name": is_called("worker-9", **{"topology.kubernetes.io/region": "worker-9"}),
    "a product with an address in its name": says(
        pci=[GPU],
        signals={"accelerator": [{"id": "nvml.name", "tier": "T3", "level": "L2", "raw": "GPU 1.1.1.1", "value": ""}]},
    ),
}


@pytest.mark.parametrize("what", HOSTILE_NODES)
def test_no_node_can_keep_a_bundle_from_being_built_and_signed(composed_run, compose_node, what):
    for nodes in ([compose_node(1), compose_node(2)], [compose_node(1)]):
        HOSTILE_NODES[what](nodes[-1])
        verify_unsigned(assemble(composed_run.with_changes(nodes=tuple(nodes)).inputs()).files)


def test_the_first_nodes_uid_keeps_its_rank_whatever_another_reports(compose_node):
    liar = compose_node(2)
    liar["report"]["bootId"] = compose_node(1)["facts"]["uid"]
    found = redacted(Redactor(KEY), NodesDocument.model_validate({"nodes": [compose_node(1), liar]}))
    assert [entry.facts.uid[:7] for entry in found.nodes] == ["n00000-", "n00001-"]


def test_a_violated_label_rule_names_nodes_and_is_sealed_all_the_same(composed_run, compose_node):
    rule = b"constraints:\n  - name: NodeTopology.gpu-nodes.label\n    value: nvidia.com/mig.config=off\n"
    labels = {"cloud.google.com/gke-accelerator": "nvidia-h100-80gb", "nvidia.com/mig.config": "all"}
    nodes = [compose_node(number) for number in (1, 2)]
    for entry in nodes:
        entry["facts"]["labels"].update(labels)
    recipe = RECIPE.replace(b"constraints:\n", rule)
    bundle = assemble(composed_run.with_changes(recipe=recipe, nodes=tuple(nodes)).inputs())
    verify_unsigned(bundle.files)
    row = json.loads(bundle.files[layout.RUN])["readiness"]["constraints"][0]
    assert row["outcome"] == "violated"
    assert not LEAKS.search(row["found"].encode())


def test_a_number_names_a_node_or_nothing(composed_run, compose_attempt):
    names = ["worker-1.lab.example.com", "10.0.0.1 and the password is x", ("1.1.1.1 " * 1024)[:8192], ""]
    numbers = [{"name": f"n{place}", "value": 1, "node": name} for place, name in enumerate(names)]
    results = {"measurements.json": json.dumps(numbers).encode()}
    attempts = (compose_attempt("expected-resources"), compose_attempt("node-agreement", results=results))
    bundle = assemble(composed_run.with_changes(attempts=attempts).inputs())
    verify_unsigned(bundle.files)
    record = json.loads(bundle.files[layout.RUN])
    nodes = [number["node"] for number in record["checks"][1]["attempts"][0]["measurements"]]
    assert nodes[0].startswith("node-")
    assert nodes[1:] == ["", "", ""]
    assert record["redaction"]["fired"]["results.omit:node"] == 2


def test_containers_that_a_check_of_others_lists_are_left_out(composed_run, compose_catalog, compose_attempt):
    foreign = compose_catalog("expected-resources", image="registry.example.com/theirs@sha256:" + "8" * 64)
    checks = ({"name": "expected-resources", "phase": "deployment", "entry": foreign},)
    seen = [{"namespace": "secret host h-17", "kind": "Pod", "name": "p", "container": "c", "image": "i"}]
    attempts = (compose_attempt("expected-resources", results={"images.json": json.dumps(seen).encode()}),)
    bundle = assemble(composed_run.with_changes(checks=checks, attempts=attempts).inputs())
    record = json.loads(bundle.files[layout.RUN])
    assert record["observedImages"] == []
    assert record["redaction"]["fired"]["results.omit:images"] == 1
    everything = composed_run.with_changes(checks=checks, attempts=attempts, policy={"redaction": "none"})
    record = json.loads(assemble(everything.inputs()).files[layout.RUN])
    assert record["observedImages"] == []
    assert "only a check of our own is believed" in record["checks"][0]["attempts"][0]["notes"][0]


RECIPES = [
    load_recipe(RECIPE),
    load_recipe(RECIPE.replace(b"service: any", b"service: eks").replace(b"none", b"h100")),
]
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
    said = []
    for document in (raw, redacted(Redactor(KEY), raw)):
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
