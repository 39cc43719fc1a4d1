# SPDX-License-Identifier: Apache-2.0
"""`evr fingerprint` and `evr match`, on files as people have them."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest
import yaml

from evidencerun.cli.app import run
from evidencerun.snapshot.document import Measurement, Snapshot, Subtype


@pytest.fixture
def files(cluster, tmp_path):
    nodes = cluster.nodes(*(cluster.node(i, boot_id="one", provider_id="kind://d/n") for i in range(2)))
    (tmp_path / "nodes.json").write_bytes(nodes.to_bytes())
    (tmp_path / "snapshot.yaml").write_bytes(cluster.snapshot(nodes).to_yaml())
    recipes = {
        "good": {"service": "kind", "accelerator": "none"},
        "wrong": {"service": "eks"},
        "open": {},
        "intent": {"service": "kind", "intent": "training"},
        "counted": {"service": "kind", "accelerator": "none", "nodes": 2},
    }
    for name, criteria in recipes.items():
        (tmp_path / f"{name}.yaml").write_bytes(cluster.recipe(criteria).source)
    return tmp_path


def test_the_fingerprint_as_text(files, capsys):
    assert run(["fingerprint", str(files / "snapshot.yaml"), "--nodes", str(files / "nodes.json")]) == 0
    text = capsys.readouterr().out
    assert "2 of 2 looked at, 1 machine" in text
    assert "shared-kernel" in text
    assert "Accelerator  none   from pci.device (T2)" in text
    assert "Region       unknown(not_collected)" in text


def test_what_a_probe_calls_a_sign_of_simulation_moves_no_cursor(files, cluster, capsys):
    nodes = cluster.nodes(cluster.node(1, markers=["M2\x1b[2J\r\u202e"]))
    (files / "nodes.json").write_bytes(nodes.to_bytes())
    assert run(["fingerprint", str(files / "snapshot.yaml"), "--nodes", str(files / "nodes.json")]) == 0
    assert "Synthetic    M2\\u{1b}[2J\\u{d}\\u{202e}\n" in capsys.readouterr().out


def test_the_tiers_that_are_shown_are_explained(files, capsys):
    assert run(["fingerprint", str(files / "snapshot.yaml"), "--nodes", str(files / "nodes.json")]) == 0
    text = capsys.readouterr().out
    used = set(re.findall(r"\((T\d)\)$", text, re.MULTILINE))
    legend = text.splitlines()[-1]
    assert legend.startswith("Who could forge it: T2 root on the node; ")
    assert set(re.findall(r"T\d", legend)) == used


@pytest.mark.parametrize(("output", "read"), [("json", json.loads), ("yaml", yaml.safe_load)])
def test_the_fingerprint_as_a_document(files, capsys, output, read):
    arguments = ["fingerprint", str(files / "snapshot.yaml"), "--nodes", str(files / "nodes.json"), "-o", output]
    assert run(arguments) == 0
    document = read(capsys.readouterr().out)
    assert document["accelerator"]["value"] == "none"
    assert document["coverage"]["markers"] == ["shared-kernel"]


@pytest.mark.parametrize(
    ("recipe", "code", "overall"),
    [("good", 0, "matched"), ("wrong", 14, "mismatched"), ("open", 0, "not-asked"), ("counted", 0, "matched")],
)
def test_the_exit_code_says_the_outcome(files, capsys, recipe, code, overall):
    arguments = [
        "match",
        str(files / f"{recipe}.yaml"),
        str(files / "snapshot.yaml"),
        "--nodes",
        str(files / "nodes.json"),
    ]
    assert run([*arguments, "-o", "json"]) == code
    assert json.loads(capsys.readouterr().out)["overall"] == overall
    assert run(arguments) == code
    assert capsys.readouterr().out.splitlines()[-1].startswith(f"{overall}: ")


def test_a_match_says_what_nobody_can_observe(files, capsys):
    arguments = [str(files / "snapshot.yaml"), "--nodes", str(files / "nodes.json")]
    assert run(["match", str(files / "intent.yaml"), *arguments]) == 0
    assert " in all that can be observed; not observable: intent" in capsys.readouterr().out.splitlines()[-1]
    assert run(["match", str(files / "good.yaml"), *arguments]) == 0
    assert "not observable" not in capsys.readouterr().out.splitlines()[-1]


def test_without_the_nodes_nothing_is_known_about_accelerators(files, capsys):
    assert run(["match", str(files / "good.yaml"), str(files / "snapshot.yaml")]) == 11
    assert "unknown(not_collected)" in capsys.readouterr().out


@pytest.mark.parametrize("command", [["fingerprint"], ["match", "RECIPE"]])
@pytest.mark.parametrize("content", [None, b"kind: Recipe\n", b"[", b"measurements: {}\n"])
def test_bad_files_are_refused_in_words(files, capsys, command, content):
    path = files / "bad.yaml"
    if content is not None:
        path.write_bytes(content)
    arguments = [str(files / "good.yaml") if each == "RECIPE" else each for each in command]
    assert run([*arguments, str(path)]) == 2
    caught = capsys.readouterr()
    assert caught.out == ""
    assert caught.err.startswith("E1")


def test_text_of_a_snapshot_cannot_steer_the_terminal(tmp_path, capsys):
    evil = "debian\x1b]0;owned\x07\u202e"
    release = Subtype(name="release", data={"ID": evil, "VERSION_ID": evil})
    snapshot = Snapshot(measurements=(Measurement(type="OS", subtypes=(release,)),))
    (tmp_path / "evil.yaml").write_bytes(snapshot.to_yaml())
    assert run(["fingerprint", str(tmp_path / "evil.yaml")]) == 0
    text = capsys.readouterr().out
    assert "owned" in text
    assert not any(char in text for char in "\x1b\x07\u202e")


def test_no_cluster_client_and_no_signing_library_is_loaded(files):
    script = (
        "import sys; from evidencerun.cli.app import run; "
        f"code = run(['match', {str(files / 'good.yaml')!r}, {str(files / 'snapshot.yaml')!r}]); "
        "bad = {'kubernetes', 'sigstore', 'aiohttp', 'kopf', 'cyclonedx'} & set(sys.modules); "
        "sys.exit(f'loaded {bad}' if bad else code)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 11, done.stderr
