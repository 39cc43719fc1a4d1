# SPDX-License-Identifier: Apache-2.0
"""What is to be delivered, from the variables of the Job's container."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from evidencerun.errors import InputError
from evidencerun.oci.reference import is_digest

_KEY: Final = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True, kw_only=True)
class PvcTarget:
    """A folder on a mounted claim: `mount`, and `path` below it."""

    mount: Path
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OciTarget:
    """A repository; `secret_name` "" for none, `secret` where the Secret is mounted if it exists."""

    repository: str
    plain_http: bool
    secret_name: str
    secret: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliverSettings:
    """All that the operator tells a deliver Job. Digests are `sha256:…`; `logs_digest` "" if logs are not asked for."""

    store_url: str
    store_ca: str
    run_name: str
    recipe_name: str
    archive_digest: str
    manifest_digest: str
    inventory_digest: str
    logs_digest: str
    logs_key: str
    pvc: PvcTarget | None
    oci: OciTarget | None
    scratch: Path


def deliver_settings(environ: Mapping[str, str]) -> DeliverSettings:
    """Return the settings. Raises `InputError` E7301 for what is missing or malformed."""
    pvc_path, repository = environ.get("EVIDENCERUN_PVC_PATH", ""), environ.get("EVIDENCERUN_OCI_REPOSITORY", "")
    logs_key = environ.get("EVIDENCERUN_LOGS_KEY", "")
    if not pvc_path and not repository:
        raise InputError("E7301", "there is nothing to deliver to", where="environment", why="neither PVC nor OCI")
    if logs_key and not _KEY.fullmatch(logs_key):
        raise InputError("E7301", "the key of the logs is malformed", where="EVIDENCERUN_LOGS_KEY")
    return DeliverSettings(
        store_url=_required(environ, "EVIDENCERUN_STORE_URL"),
        store_ca=environ.get("EVIDENCERUN_STORE_CA", ""),
        run_name=_required(environ, "EVIDENCERUN_RUN_NAME"),
        recipe_name=environ.get("EVIDENCERUN_RECIPE_NAME", "") or "recipe",
        archive_digest=_digest(environ, "EVIDENCERUN_ARCHIVE_DIGEST"),
        manifest_digest=_digest(environ, "EVIDENCERUN_MANIFEST_DIGEST") if repository else "",
        inventory_digest=_digest(environ, "EVIDENCERUN_INVENTORY_DIGEST") if repository else "",
        logs_digest=_digest(environ, "EVIDENCERUN_LOGS_DIGEST") if logs_key else "",
        logs_key=logs_key,
        pvc=_pvc(environ, pvc_path) if pvc_path else None,
        oci=_oci(environ, repository) if repository else None,
        scratch=Path(environ.get("EVIDENCERUN_SCRATCH", "/tmp")),  # noqa: S108 - the pod's own emptyDir
    )


def _pvc(environ: Mapping[str, str], path: str) -> PvcTarget:
    if path.startswith("/") or ".." in path.split("/"):
        fix = "name a folder below the claim's root, like runs"
        raise InputError("E7301", f"{path[:80]!r} leaves the claim", where="spec.deliver.pvc.path", fix=fix)
    return PvcTarget(mount=Path(environ.get("EVIDENCERUN_PVC_MOUNT", "/deliver")), path=path)


def _oci(environ: Mapping[str, str], repository: str) -> OciTarget:
    return OciTarget(
        repository=repository,
        plain_http=environ.get("EVIDENCERUN_OCI_PLAIN_HTTP", "false").lower() == "true",
        secret_name=environ.get("EVIDENCERUN_OCI_SECRET", ""),
        secret=Path(environ.get("EVIDENCERUN_REGISTRY_DIR", "/var/run/evidencerun/registry")),
    )


def _required(environ: Mapping[str, str], name: str) -> str:
    value = environ.get(name, "")
    if not value:
        raise InputError("E7301", f"{name} is not set", where="environment")
    return value


def _digest(environ: Mapping[str, str], name: str) -> str:
    value = _required(environ, name)
    if not is_digest(value):
        why = f"found {value[:80]!r}, expected sha256: and 64 lowercase hex digits"
        raise InputError("E7301", f"{name} is no digest", where="environment", why=why)
    return value
