# SPDX-License-Identifier: Apache-2.0
"""The fixture of cluster_builder.py, which several folders share."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

NAME = "evidencerun_cluster_builder"
if NAME not in sys.modules:
    spec = importlib.util.spec_from_file_location(NAME, Path(__file__).parents[1] / "snapshot" / "cluster_builder.py")
    assert spec is not None
    assert spec.loader is not None
    sys.modules[NAME] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules[NAME])

cluster = sys.modules[NAME].cluster
