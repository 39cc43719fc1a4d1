# SPDX-License-Identifier: Apache-2.0
"""Writes the generated part of the documentation: `python -m evidencerun.cli.spec_files docs`."""

from __future__ import annotations

import sys
from pathlib import Path

from evidencerun.bundle.verify_page import documentation_page
from evidencerun.report.schemas import schemas


def spec_files() -> dict[str, bytes]:
    """Return the generated files by their path under docs/."""
    return {**{f"spec/{name}": data for name, data in schemas().items()}, "verify-without-us.md": documentation_page()}


def main(folder: str) -> None:
    """Write the files under `folder`."""
    for path, data in spec_files().items():
        Path(folder, path).write_bytes(data)


if __name__ == "__main__":
    main(sys.argv[1])
