# SPDX-License-Identifier: Apache-2.0
"""The sealer's settings, read once from the environment (names: the chart's Deployment)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Where the store is, and where the key is. An empty `secret_name` lets the sealer make its own key."""

    store_url: str
    store_ca: Path
    token: Path
    key_folder: Path
    secret_folder: Path
    secret_name: str = ""

    @property
    def namespace(self) -> str:
        """Our namespace, which is the store's: the second label of its name, `evidence-store.<namespace>.svc`."""
        labels = (urlsplit(self.store_url).hostname or "").split(".")
        return labels[1] if labels[2:3] == ["svc"] else "evidencerun-system"

    @classmethod
    def from_environment(cls, env: Mapping[str, str]) -> Settings:
        """Read the settings."""
        return cls(
            store_url=env.get("EVIDENCERUN_STORE_URL", "https://evidence-store.evidencerun-system.svc"),
            store_ca=Path(env.get("EVIDENCERUN_STORE_CA_FILE", "/etc/evidencerun/public/ca.crt")),
            token=Path(env.get("EVIDENCERUN_TOKEN_FILE", "/var/run/evidencerun/token")),
            key_folder=Path(env.get("EVIDENCERUN_KEY_DIR", "/var/lib/evidencerun-sealer")),
            secret_folder=Path(env.get("EVIDENCERUN_SIGNING_SECRET_DIR", "/etc/evidencerun/signing")),
            secret_name=env.get("EVIDENCERUN_SIGNING_SECRET_NAME", ""),
        )
