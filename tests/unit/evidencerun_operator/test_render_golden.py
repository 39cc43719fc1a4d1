# SPDX-License-Identifier: Apache-2.0
"""The manifests, byte for byte: whatever changes in them is seen in review. Set EVIDENCERUN_WRITE_GOLDEN=1 to renew."""

import os
from pathlib import Path

import pytest
import yaml
from operator_samples import PLACES, UID, entry, make_plan, policy_spec

from evidencerun.validation.spec import Access, CatalogEntry, Delivery, Pool
from evidencerun.validation.storeapi import BundleView
from evidencerun_operator import naming, render
from evidencerun_operator.render import Owner, Surroundings
from evidencerun_operator.render_jobs import check_job, deliver_job

GOLDEN = Path(__file__).parent / "golden"
HEAD = "# SPDX-License-Identifier: Apache-2.0\n"
AROUND = Surroundings(store_url=PLACES.store_url, store_ca="-----BEGIN CERTIFICATE-----\nfirst\n")
OWNER = Owner(api_version="v1", kind="ConfigMap", name="ev-0a1b2c3d-anchor", uid="anchor-uid")
RUN = naming.RunRef(uid=UID, namespace="evidence", name="demo")
POOL = Pool.model_validate(
    {
        "name": "nvidia",
        "nodeSelector": {"nvidia.com/gpu.present": "true"},
        "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists"}],
    }
)
CHECK = CatalogEntry.model_validate(
    entry(
        "expected-resources",
        rights="aicr-read",
        timeout="5m",
        args=["expected-resources"],
        env=[{"name": "EXTRA", "value": "1"}, {"name": "AICR_RUN_ID", "value": "stolen"}],
    )
)
DELIVERY = Delivery.model_validate(
    {
        "pvc": {"claimName": "evidence", "path": "runs"},
        "oci": {"repository": "registry.example/team/evidence", "secretName": "push", "plainHTTP": False},
        "logs": True,
    }
)
BUNDLE = BundleView(archive_digest="sha256:" + "a" * 64, logs_key="k" * 32)


def daemon_set(access, around=AROUND):
    plan = make_plan(spec=policy_spec())
    manifest = render.probe_daemon_set(plan, POOL, access, owner=OWNER, around=around)
    return render.placed(manifest, PLACES.probes)


def job(around=AROUND):
    return check_job(make_plan(), CHECK, 1, namespace=PLACES.checks, owner=OWNER, around=around)


def bare_job():
    return check_job(
        make_plan(), CatalogEntry.model_validate(entry("quiet")), 2, namespace=PLACES.checks, owner=OWNER, around=AROUND
    )


def delivery():
    owner = Owner(api_version="evidencerun.dev/v1alpha1", kind="EvidenceRun", name="demo", uid=UID)
    return deliver_job(make_plan(), DELIVERY, BUNDLE, owner=owner, around=AROUND)


CASES = {
    "anchor": lambda: render.anchor(RUN, PLACES.probes, data={"access.nvidia": "runtimeClass"}),
    "probe-pci-only": lambda: daemon_set(Access.PCI_ONLY),
    "probe-runtime-class": lambda: daemon_set(Access.RUNTIME_CLASS),
    "probe-privileged": lambda: daemon_set(Access.PRIVILEGED),
    "check-aicr-read": job,
    "check-no-rights": bare_job,
    "deliver": delivery,
}


@pytest.mark.parametrize("name", CASES)
def test_a_manifest_is_what_it_was(name):
    text = HEAD + yaml.safe_dump(CASES[name](), sort_keys=False, width=110)
    path = GOLDEN / f"{name}.yaml"
    if os.environ.get("EVIDENCERUN_WRITE_GOLDEN") == "1":
        path.write_text(text, encoding="utf-8")
    assert path.read_text(encoding="utf-8") == text


@pytest.mark.parametrize("name", [name for name in CASES if name != "anchor"])
def test_no_pod_has_more_than_it_needs(name):
    pod = CASES[name]()["spec"]["template"]["spec"]
    assert pod["automountServiceAccountToken"] is False
    assert not {"hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace"} & set(pod)
    for container in [*pod.get("initContainers", []), *pod["containers"]]:
        security = container["securityContext"]
        if name == "probe-privileged":
            assert security == {"privileged": True}
            continue
        assert security["allowPrivilegeEscalation"] is False
        assert security["capabilities"] == {"drop": ["ALL"]}
        assert security["readOnlyRootFilesystem"] is True
        assert pod["securityContext"]["runAsNonRoot"] is True
    for volume in pod["volumes"]:
        assert "secret" not in volume or (name == "deliver" and volume["secret"]["optional"])
        assert "hostPath" not in volume or volume["hostPath"] == {"path": "/etc/os-release", "type": "File"}


def test_only_the_validator_gets_the_api_token_and_only_the_sidecar_the_stores():
    pod = job()["spec"]["template"]["spec"]
    mounts = {c["name"]: {m["name"] for m in c["volumeMounts"]} for c in [*pod["initContainers"], *pod["containers"]]}
    assert "token" in mounts["sidecar"]
    assert "token" not in mounts["validator"]
    assert "api-token" in mounts["validator"]
    assert "api-token" not in mounts["sidecar"]
    assert "api-token" not in {v["name"] for v in bare_job()["spec"]["template"]["spec"]["volumes"]}


def test_the_catalog_cannot_replace_what_the_contract_sets():
    variables = job()["spec"]["template"]["spec"]["containers"][0]["env"]
    assert {v["name"]: v["value"] for v in variables}["AICR_RUN_ID"] == UID
    assert len({v["name"] for v in variables}) == len(variables)


def test_the_hash_covers_everything_but_the_stores_ca():
    renewed = Surroundings(store_url=PLACES.store_url, store_ca="second")
    elsewhere = Surroundings(store_url="https://elsewhere", store_ca=AROUND.store_ca)

    def digest(manifest):
        return manifest["metadata"]["annotations"]["evidencerun.dev/spec-hash"]

    assert digest(job()) == digest(job(renewed))
    assert digest(job()) != digest(job(elsewhere))
    assert "second" in str(job(renewed))


@pytest.mark.parametrize(
    ("pool", "classes", "access"),
    [
        ({}, (), "pciOnly"),
        ({}, ("nvidia",), "runtimeClass"),
        ({"access": "runtimeClass"}, (), "pciOnly"),
        ({"access": "pciOnly"}, ("nvidia",), "pciOnly"),
        ({"access": "privileged"}, ("nvidia",), "privileged"),
        ({"privileged": True}, ("nvidia",), "privileged"),
    ],
)
def test_the_way_to_the_vendors_library(pool, classes, access):
    assert render.access_of(Pool.model_validate({"name": "p", **pool}), frozenset(classes)) == access
