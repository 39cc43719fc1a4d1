# SPDX-License-Identifier: Apache-2.0
"""The fixtures of composed_run.py, which several folders share."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

NAME = "evidencerun_composed_run"
if NAME not in sys.modules:
    spec = importlib.util.spec_from_file_location(NAME, Path(__file__).parents[1] / "bundle" / "composed_run.py")
    assert spec is not None
    assert spec.loader is not None
    sys.modules[NAME] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules[NAME])
composed = sys.modules[NAME]

signing_key = composed.signing_key
composed_run = composed.composed_run
compose_node = composed.compose_node
compose_catalog = composed.compose_catalog
compose_attempt = composed.compose_attempt
seal = composed.seal
sealed_bundle = composed.sealed_bundle
