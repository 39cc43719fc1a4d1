# SPDX-License-Identifier: Apache-2.0
"""The command for kind, with programs that stand in for docker, kind and kubectl and note how they were called."""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

STUB = """#!/bin/bash
echo "$(basename "$0") $*" >>"$CALLS"
case "$(basename "$0") $*" in
  "kind version -q") echo "${KIND_VERSION:-0.33.0}" ;;
  "kind get clusters") [ ! -e "$MADE" ] || echo evidencerun ;;
  "kind get nodes"*) printf 'evidencerun-control-plane\\nevidencerun-worker\\n' ;;
  "kind create cluster"*) touch "$MADE" ;;
  "kind delete cluster"*) rm -f "$MADE" ;;
  "docker inspect -f {{.State.Running}} "*) [ -e "$MADE.$4" ] && echo true ;;
  "docker inspect -f {{(index"*) echo 172.18.0.9 ;;
  "docker run "*) touch "$MADE.$4" ;;
  "docker rm -f "*) rm -f "$MADE.$3" ;;
  "docker exec -i "*) cat >/dev/null ;;
  "htpasswd "*) echo "evidence:hash" ;;
esac
"""


@dataclass(frozen=True, kw_only=True)
class Kind:
    """The command, in an environment of its own."""

    command: Path
    folder: Path

    def run(self, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
        chosen = {"PATH": f"{self.folder}/bin:{os.environ['PATH']}", "HOME": str(self.folder)}
        chosen |= {"CALLS": str(self.folder / "calls"), "MADE": str(self.folder / "made")}
        chosen |= {"EVIDENCERUN_STATE": str(self.state)}
        return subprocess.run([self.command, *words], capture_output=True, text=True, env=chosen | variables)

    def up(self) -> None:
        """Bring it up, which is no matter of the test."""
        done = self.run("up")
        assert done.returncode == 0, done.stdout + done.stderr

    @property
    def state(self) -> Path:
        return self.folder / "state"

    def calls(self, begin: str) -> list[str]:
        lines = (self.folder / "calls").read_text(encoding="utf-8").splitlines()
        return [line for line in lines if line.startswith(begin)]


def checkout(folder: Path, repository: Path) -> Path:
    """A copy of what the command needs of a checkout, whose tools are not built."""
    for name in ("deploy/kind/cluster", "deploy/kind/kind.yaml", "deploy/local/audit-policy.yaml"):
        copy = folder / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes((repository / name).read_bytes())
        copy.chmod(0o755)
    tools = folder / "deploy/local/tools"
    tools.write_text("#!/bin/sh\necho /bin/true\n", encoding="ascii")
    tools.chmod(0o755)
    return folder


@pytest.fixture
def kind(tmp_path: Path, repository: Path) -> Kind:
    (tmp_path / "bin").mkdir()
    for name in ("docker", "kind", "kubectl", "htpasswd", "jq"):
        program = tmp_path / "bin" / name
        program.write_text(STUB, encoding="ascii")
        program.chmod(0o755)
    return Kind(command=checkout(tmp_path / "own", repository) / "deploy/kind/cluster", folder=tmp_path)


def test_up_makes_cluster_and_registries_once(kind: Kind) -> None:
    first = kind.run("up")
    assert first.returncode == 0, first.stderr
    assert f'eval "$({kind.command} env)"' in first.stderr
    again = kind.run("up")
    assert again.returncode == 0, again.stderr
    assert again.stdout == first.stdout == kind.run("env").stdout
    assert len(kind.calls("kind create cluster")) == 1
    assert re.search(r"--image kindest/node:v1\.36\.\d+@sha256:[0-9a-f]{64} ", kind.calls("kind create")[0])
    assert len(kind.calls("docker run")) == 2
    assert kind.calls("docker run -d --name evidencerun-referrers")[0].endswith("registry:2 --addr 0.0.0.0:5001")
    untaint = kind.calls(f"kubectl --kubeconfig {kind.state}/kubeconfig taint nodes")
    taint = "node-role.kubernetes.io/control-plane"
    assert untaint[0].endswith(f"-l {taint} {taint}:NoSchedule-")
    assert kind.run("down").returncode == 0
    assert not kind.state.exists()
    assert kind.run("status").returncode == 1


def test_a_registry_that_has_stopped_is_made_anew(kind: Kind) -> None:
    kind.up()
    (kind.folder / "made.evidencerun-registry").unlink()
    before = (kind.state / "registry/tls.crt").read_bytes()
    assert kind.run("up").returncode == 0
    assert len(kind.calls("docker run")) == 3
    assert (kind.state / "registry/tls.crt").read_bytes() != before


def test_the_configuration_names_files_that_are_there(kind: Kind) -> None:
    kind.up()
    config = yaml.safe_load((kind.state / "kind.yaml").read_text(encoding="utf-8"))
    assert len(config["nodes"]) == 3
    policy, log = config["nodes"][0]["extraMounts"]
    assert Path(policy["hostPath"]).is_file()
    assert (Path(log["hostPath"]) / "audit.log").is_file()
    (patch,) = map(yaml.safe_load, config["kubeadmConfigPatches"])
    server: dict[str, Any] = patch["apiServer"]
    volumes = {volume["mountPath"]: volume["hostPath"] for volume in server["extraVolumes"]}
    mounts = {mount["containerPath"] for mount in config["nodes"][0]["extraMounts"]}
    assert set(volumes.values()) == mounts
    arguments = {argument["name"]: argument["value"] for argument in server["extraArgs"]}
    assert arguments["audit-policy-file"] in volumes
    assert str(Path(arguments["audit-log-path"]).parent) in volumes


def test_an_older_kind_is_refused(kind: Kind) -> None:
    done = kind.run("up", KIND_VERSION="0.9.0")
    assert done.returncode == 1
    assert "kind is 0.9.0, expected 0.33.0 or newer; fix: go install sigs.k8s.io/kind@v0.33.0" in done.stderr
    assert kind.calls("kind create") == []
    assert kind.run("up", KIND_VERSION="0.100.0").returncode == 0


@pytest.mark.parametrize("word", ["up", "down", "status", "env", "load"])
def test_the_cluster_of_another_checkout_is_left_alone(kind: Kind, repository: Path, word: str) -> None:
    kind.up()
    other = checkout(kind.folder / "other", repository)
    elsewhere = Kind(command=other / "deploy/kind/cluster", folder=kind.folder)
    calls = len(kind.calls("kind delete") + kind.calls("kind create"))
    done = elsewhere.run(word)
    assert done.returncode == 3
    assert f"found: {kind.folder}/own, with its state in {kind.state}" in done.stderr
    assert f"expected: {other}" in done.stderr
    assert "EVIDENCERUN_TAKE_OVER=true" in done.stderr
    assert len(kind.calls("kind delete") + kind.calls("kind create")) == calls
    assert elsewhere.run("up", EVIDENCERUN_TAKE_OVER="true").returncode == 0
    assert kind.run("env").returncode == 3


@pytest.mark.parametrize(
    ("script", "mirror"),
    [('DEF_MIRROR="http://debian.example/debian"\n', "http://debian.example"), ("", "")],
)
def test_the_source_of_debian_packages(tmp_path: Path, repository: Path, script: str, mirror: str) -> None:
    """The line of bookworm-apt that asks debootstrap, with a debootstrap of the test's own."""
    text = (repository / "deploy/kind/bookworm-apt").read_text(encoding="utf-8")
    (tmp_path / "debootstrap").write_text(script, encoding="ascii")
    (line,) = [line for line in text.splitlines() if line.startswith("mirror=")]
    line = line.replace("/usr/sbin/debootstrap", str(tmp_path / "debootstrap")) + '\necho "$mirror"'
    found = subprocess.run(["bash", "-euc", line], capture_output=True, text=True, env={"PATH": os.environ["PATH"]})
    assert found.stdout.strip() == mirror
    chosen = {"PATH": os.environ["PATH"], "DEBIAN_MIRROR": "http://chosen.example"}
    found = subprocess.run(["bash", "-euc", line], capture_output=True, text=True, env=chosen)
    assert found.stdout.strip() == "http://chosen.example"
