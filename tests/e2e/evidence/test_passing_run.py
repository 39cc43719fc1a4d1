# SPDX-License-Identifier: Apache-2.0
"""One run that passes: what it leaves, who accepts it, what is refused once it was touched."""

from __future__ import annotations

import base64
import io
import json
import os
import re
import shutil
import subprocess
import tarfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from evidence_lab import DEMO_WEB, PROBES, Evidence, recipe

from evidencerun.verify.run import verify_bundle

SPEC = {
    "recipe": {
        "inline": recipe(
            components=[DEMO_WEB],
            checks={"deployment": ["expected-resources", "node-agreement"]},
            constraints=[{"name": "K8s.server.version", "value": ">= 1.30"}],
        )
    },
    "deadline": "10m",
}


@pytest.fixture(scope="module")
def passed(installed: Any) -> Any:
    """A finished run, shared by this module: (lab, run, files of the bundle)."""
    lab = Evidence(cluster=installed)
    run = lab.finished(lab.start(SPEC, prefix="passing"))
    yield lab, run, lab.bundle(run)
    for name in lab.made:
        installed.kubectl("delete", "evr", "-n", "evidence", name, "--wait=false")


@pytest.fixture
def folder(passed: Any, tmp_path: Path) -> Path:
    """The bundle unpacked, with the public key beside it."""
    lab, _, files = passed
    for name, data in files.items():
        path = tmp_path / "bundle" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    (tmp_path / "evidence.pub").write_bytes(lab.public_key())
    return tmp_path


def test_the_verdict_and_its_numbers(passed: Any):
    lab, run, _ = passed
    status = run["status"]
    nodes = len(lab.cluster.nodes())
    assert status["verdict"] == "Passed"
    assert (status["nodes"]["targeted"], status["nodes"]["reported"]) == (nodes, nodes)
    counts = status["checks"]
    assert (counts["declared"], counts["passed"], counts["skipped"]) == (2, 1, 1)
    assert all(c["status"] == "True" for c in status["conditions"] if c["type"] in ("Sealed", "CleanedUp", "Complete"))


def test_every_child_was_created_once_and_nothing_is_left(passed: Any):
    lab, run, _ = passed
    created = lab.created(run["metadata"]["uid"])
    assert len([name for name in created if name.startswith("jobs/")]) == 2
    assert all(len(uids) == 1 for uids in created.values()), created
    assert lab.leftovers(run["metadata"]["uid"]) == []
    assert lab.cluster.kubectl("get", "pods", "-n", PROBES, "-o", "name").stdout == ""


def test_evr_accepts_it_and_says_what_is_not_proven(folder: Path, passed: Any):
    done = passed[0].verify(folder / "bundle", folder / "evidence.pub")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Does not prove" in done.stdout
    assert "nothing is claimed about GPUs" in done.stdout


def test_without_a_key_it_is_not_accepted(folder: Path, passed: Any):
    assert passed[0].verify(folder / "bundle").returncode == 13


def test_cosign_accepts_the_signature_over_the_manifest(folder: Path, installed: Any):
    words = [
        "cosign", "verify-blob-attestation", "--key", "../evidence.pub", "--insecure-ignore-tlog",
        "--bundle", "attestation.intoto.jsonl", "--type", "https://aicr.run/recipe-evidence/v3", "manifest.json",
    ]  # fmt: skip
    done = subprocess.run(words, cwd=folder / "bundle", capture_output=True, text=True, env=installed.environment)
    assert done.returncode == 0, done.stderr


def test_the_commands_of_verify_md_agree(folder: Path, passed: Any, installed: Any):
    """VERIFY.md's own commands, with nothing but cosign, sha256sum and jq on PATH."""
    only = folder / "bin"
    only.mkdir()
    for name in ("cosign", "sha256sum", "jq"):
        found = shutil.which(name, path=installed.environment["PATH"])
        assert found, f"{name} is needed for this test"
        (only / name).symlink_to(found)
    text = (folder / "bundle/VERIFY.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```(?:sh|console|bash)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert blocks, "VERIFY.md has no commands"
    script = "set -eu\n" + "\n".join(blocks)
    (folder / "evidence-logs.tar.gz").write_bytes(passed[0].logs(passed[1]))

    def run() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["/bin/sh", "-c", script], cwd=folder / "bundle", capture_output=True, text=True,
            env={"PATH": str(only), "HOME": str(folder)},
        )  # fmt: skip

    done = run()
    assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"
    assert '"verdict": "Passed"' in done.stdout
    assert "WRONG" not in done.stdout
    (folder / "bundle/added.txt").write_text("x", encoding="ascii")
    assert run().returncode != 0, "an added file was not noticed"


@pytest.mark.parametrize("name", ["run.json", "manifest.json", "statement.intoto.json", "attestation.intoto.jsonl"])
def test_one_changed_byte_is_refused(folder: Path, passed: Any, name: str):
    path = folder / "bundle" / name
    path.write_bytes(changed(path.read_bytes(), path.stat().st_size // 2))
    assert passed[0].verify(folder / "bundle", folder / "evidence.pub").returncode == 20


def changed(data: bytes, place: int) -> bytes:
    """The data with one bit of one byte turned."""
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


def spread(data: bytes, number: int) -> list[int]:
    """So many places of the data, its first and its last among them."""
    return sorted({place * (len(data) - 1) // (number - 1) for place in range(number)})


def test_changed_bytes_are_refused_in_every_file(passed: Any):
    """Places all over every file of the bundle, judged by what `evr verify` calls."""
    lab, _, files = passed
    key, now = lab.public_key(), datetime.now(UTC)
    assert verify_bundle(files, now=now, key_pem=key).exit_code == 0
    for name, data in files.items():
        for place in spread(data, 20):
            touched = {**files, name: changed(data, place)}
            found = verify_bundle(touched, now=now, key_pem=key).exit_code
            assert found == 20, f"{name}, byte {place}: exit {found}"


@pytest.mark.parametrize("part", ["payload", "signature", "hint"])
def test_changed_bytes_of_the_attestation_are_refused(passed: Any, part: str):
    """The decoded parts, so that no change is only one of base64 or JSON."""
    lab, _, files = passed
    key, now = lab.public_key(), datetime.now(UTC)
    text = files["attestation.intoto.jsonl"]
    original = json.loads(text)
    again = {**files, "attestation.intoto.jsonl": json.dumps(original).encode()}
    assert verify_bundle(again, now=now, key_pem=key).exit_code == 0, "white space of JSON does not matter"
    envelope = original["dsseEnvelope"]
    place = {
        "payload": (envelope, "payload"),
        "signature": (envelope["signatures"][0], "sig"),
        "hint": (original["verificationMaterial"]["publicKey"], "hint"),
    }
    holder, member = place[part]
    raw = base64.b64decode(holder[member])
    for at in spread(raw, 40):
        holder[member] = base64.b64encode(changed(raw, at)).decode()
        touched = {**files, "attestation.intoto.jsonl": json.dumps(original).encode()}
        found = verify_bundle(touched, now=now, key_pem=key).exit_code
        assert found == 20, f"{part}, byte {at}: exit {found}"


def test_the_logs_are_apart_and_bound_by_their_digest(passed: Any):
    lab, run, files = passed
    with tarfile.open(fileobj=io.BytesIO(lab.logs(run)), mode="r:gz") as archive:
        names = archive.getnames()
    assert any("expected-resources" in name for name in names), names
    assert not any(name.startswith("logs/") for name in files)
    assert run["status"]["bundle"]["logsDigest"] in files["run.json"].decode()


def test_images_that_ran_are_recorded_by_digest(passed: Any):
    _, _, files = passed
    record, bom = json.loads(files["run.json"]), files["bom.cdx.json"].decode()
    digests = set(re.findall(r"evidencerun\.local/[a-z-]+@sha256:[0-9a-f]{64}", json.dumps(record)))
    assert digests, "run.json names no image by digest"
    assert all(digest.split("@")[1] in bom for digest in digests)


def test_names_of_nodes_do_not_leave_the_cluster(passed: Any):
    lab, _, files = passed
    for name in lab.cluster.nodes():
        for path, data in files.items():
            assert re.search(rb"\b" + name.encode() + rb"\b", data) is None, f"{path} names {name}"


def test_kubectl_alone_is_enough(passed: Any, tmp_path: Path):
    """The literal command in status.bundle.fetch, run in a shell."""
    lab, run, _ = passed
    environment = {**os.environ, **lab.cluster.environment}
    subprocess.run(["bash", "-c", run["status"]["bundle"]["fetch"]], cwd=tmp_path, check=True, env=environment)
    assert (tmp_path / "bundle.tar.gz").read_bytes() == lab.archive(run)
