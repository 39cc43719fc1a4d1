# SPDX-License-Identifier: Apache-2.0
"""What the two images consist of: the names, the folders of our own code, the locked requirements, the settings."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rootfs import PYTHON_PACKAGES

REPOSITORY = Path(__file__).resolve().parents[2]
SITE = "app/site"
UID = 65532
REGISTRY = "evidencerun.local"
"""The host part of local image names; no such host exists, so nothing can be pulled from it by mistake."""

BASE_PACKAGES = tuple(name for name in PYTHON_PACKAGES if name != "dash")
"""CPython and CA certificates, without a shell: nothing that we run in a container needs one."""

ENVIRONMENT = {
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONNOUSERSITE": "1",
    "PYTHONPATH": f"/{SITE}",
    "PYTHONSAFEPATH": "1",
    "PYTHONUNBUFFERED": "1",
}

PROBE_PACKAGES = ("probe", "sidecar", "snapshot", "storeclient")
"""Sub-packages of `evidencerun` that the probe and the sidecar import; a test compares them with the import graph."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageSpec:
    """One image: `sources` maps a folder or file of the repository to its place below the site folder."""

    name: str
    requirements: str
    sources: dict[str, str]
    module: str

    @property
    def requirements_path(self) -> Path:
        """The locked requirements of this image."""
        return Path(__file__).resolve().parent / self.requirements

    @property
    def entrypoint(self) -> list[str]:
        """The program that runs unless a pod names another command."""
        return ["/usr/bin/python3", "-m", self.module]


EVIDENCERUN = ImageSpec(
    name="evidencerun",
    requirements="requirements-evidencerun.txt",
    sources={
        "pkg/evidencerun": "evidencerun",
        "operator/evidencerun_operator": "evidencerun_operator",
    },
    module="evidencerun.checks.main",
)
PROBE = ImageSpec(
    name="evidencerun-probe",
    requirements="requirements-probe.txt",
    sources={
        **{f"pkg/evidencerun/{name}": f"evidencerun/{name}" for name in PROBE_PACKAGES},
        **{f"pkg/evidencerun/{name}.py": f"evidencerun/{name}.py" for name in ("__init__", "errors", "limits")},
    },
    module="evidencerun.probe.main",
)
IMAGES = (EVIDENCERUN, PROBE)
