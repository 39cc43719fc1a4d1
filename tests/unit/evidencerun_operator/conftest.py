# SPDX-License-Identifier: Apache-2.0
"""Makes the samples of this folder importable: it is no package."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
