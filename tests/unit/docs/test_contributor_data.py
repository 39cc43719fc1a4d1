# SPDX-License-Identifier: Apache-2.0
"""docs/contributor/data.md shows a real run: every line of its YAML is computed again from that run's documents."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from evidencerun.fingerprint import fingerprint
from evidencerun.fingerprint.model import Fingerprint
from evidencerun.snapshot.nodes import load_nodes
from evidencerun.snapshot.read import load_snapshot

RUN = Path(__file__).parent / "testdata"
DIMENSIONS_SHOWN = {"accelerator", "coverage", "trust", "os", "service", "driver", "gpuModel"}


@pytest.fixture(scope="module")
def found() -> Fingerprint:
    """The fingerprint of the real run. Of its documents only the kernel's build banner was replaced."""
    nodes = load_nodes((RUN / "nodes.json").read_bytes())
    return fingerprint(load_snapshot((RUN / "snapshot.yaml").read_bytes()), nodes)


@pytest.fixture(scope="module")
def shown(repository: Path) -> dict[str, object]:
    """All members of all YAML blocks of the page."""
    text = (repository / "docs/contributor/data.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```yaml\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return {key: value for block in blocks for key, value in yaml.safe_load(block).items()}


def test_the_page_shows_what_the_documents_say(found: Fingerprint, shown: dict[str, object]):
    document = found.to_dict()
    predicate = shown.pop("predicate.fingerprint")
    assert predicate == found.aicr_members()
    assert set(shown) >= DIMENSIONS_SHOWN
    assert shown == {key: document[key] for key in shown}


def test_the_snapshot_alone_says_the_same(found: Fingerprint):
    alone = fingerprint(load_snapshot((RUN / "snapshot.yaml").read_bytes()), None)
    assert alone.aicr_members() == found.aicr_members() | {"accelerator": alone.aicr_members()["accelerator"]}
    assert alone.aicr_members()["accelerator"]["value"] == "none"
