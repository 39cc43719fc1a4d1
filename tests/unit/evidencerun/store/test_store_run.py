# SPDX-License-Identifier: Apache-2.0
"""A whole run through the store's API, with a sealer's part played by the library."""

from __future__ import annotations

import base64
from typing import Any

from evidencerun.canonical import sha256_prefixed
from evidencerun.sealer.sealing import seal
from evidencerun.signers.key import own_key
from evidencerun.validation.storeapi import SealTask

UID = "0a1b2c3d-0000-4000-8000-000000000001"


async def test_a_run_from_plan_to_signed_bundle(rig: Any, kubelet: Any, tmp_path: Any) -> None:
    api = rig.api
    operator, sealer = api.operator_token(), api.sealer_token()
    await rig.create()
    for number in (1, 2):
        status, _, _ = await rig.send_report(number)
        assert status == 201
    evaluation = await rig.ok("POST", f"/v1/runs/{UID}/evaluate", token=operator, json_body={"stragglers": {}})
    assert (evaluation["reported"], evaluation["ready"]) == (2, True)
    for check, rights in (("expected-resources", "aicr-read"), ("node-agreement", "none")):
        await _run_check(rig, kubelet, check, rights)
    view = await rig.ok("POST", f"/v1/runs/{UID}/seal", token=operator, json_body={"reason": "finished"})
    assert view["seal"] == "queued", view
    assert view["bundle"]["archiveDigest"] == ""

    signer = own_key(tmp_path / "key")
    await rig.ok("PUT", "/v1/keys", token=sealer, data=signer.public_pem)
    task = SealTask.model_validate(await rig.ok("GET", "/v1/seal", token=sealer))
    _, layer, _ = await rig.call("GET", f"/v1/seal/{task.manifest_digest}/layer", token=sealer)
    attestation = seal(task, layer, signer)
    answer = {"attestation": attestation.decode(), "signer": signer.identity}
    await rig.ok("PUT", f"/v1/seal/{task.manifest_digest}", token=sealer, json_body=answer)

    view = await rig.view()
    assert view["seal"] == "sealed"
    assert view["bundle"]["signer"] == signer.identity
    status, archive, headers = await rig.call("GET", f"/v1/bundles/{view['bundle']['archiveDigest']}")
    assert (status, headers["Content-Type"], headers["Content-Length"]) == (200, "application/gzip", str(len(archive)))
    assert "Content-Encoding" not in headers
    assert sha256_prefixed(archive) == view["bundle"]["archiveDigest"]
    base = f"/v1/bundles/{view['bundle']['archiveDigest']}/oci"
    _, manifest, _ = await rig.call("GET", f"{base}/manifest")
    assert sha256_prefixed(manifest) == task.manifest_digest
    assert manifest == base64.b64decode(task.oci_manifest)
    assert (await rig.call("GET", f"{base}/attestation"))[1] == attestation
    _, logs, _ = await rig.call("GET", f"/v1/logs/{view['bundle']['logsKey']}")
    assert sha256_prefixed(logs) == view["bundle"]["logsDigest"]
    assert (await rig.call("GET", "/v1/seal", token=sealer))[0] == 204


async def _run_check(rig: Any, kubelet: Any, check: str, rights: str) -> None:
    api = rig.api
    await rig.attempt("created", check)
    pod = api.add_pod(check, 1)
    name, token = pod["metadata"]["name"], api.check_token(check, 1, rights=rights)
    for file in ("recipe.yaml", "snapshot.yaml", "validation.yaml", "nodes.json"):
        status, data, _ = await rig.call("GET", f"/v1/runs/{UID}/inputs/{file}", token=token)
        assert status == 200
        assert data
    kubelet.run(pod)
    await rig.attempt("running", check, pod={"name": name, "uid": pod["metadata"]["uid"]})
    api.logs[name].write(b"RESULT: all is well\n")
    await rig.ok("PUT", f"/v1/runs/{UID}/checks/{check}/1/note.txt", token=token, data=b"looked at 2 nodes")
    kubelet.end(pod, 0)
    view = await rig.attempt("ended", check)
    assert (view["state"], view["status"], view["logComplete"]) == ("ended", "passed", True), view
    assert view["results"] == ["note.txt"]
