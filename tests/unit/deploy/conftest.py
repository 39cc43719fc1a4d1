# SPDX-License-Identifier: Apache-2.0
"""Makes the programs of deploy/ importable: they are no installed packages."""

import sys
from pathlib import Path

_DEPLOY = Path(__file__).resolve().parents[3] / "deploy"
# Last, so that no name of theirs hides another one.
sys.path += [str(_DEPLOY / name) for name in ("local", "images", "demo")]
