# SPDX-License-Identifier: Apache-2.0
"""Brings the inputs of a check from the store to /data, each by way of a temporary file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from evidencerun import limits
from evidencerun.errors import WorldError
from evidencerun.storeclient import StoreClient

INPUTS: Final = (
    ("recipe.yaml", "recipe/recipe.yaml"),
    ("snapshot.yaml", "snapshot/snapshot.yaml"),
    ("validation.yaml", "validation/validation.yaml"),
    ("nodes.json", "nodes/nodes.json"),
)
"""Name at the store, place under /data: AICR's paths, and our nodes.json beside them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """One file that was brought: its name at the store, its `sha256:` digest and size."""

    name: str
    digest: str
    size: int


def fetch_input(client: StoreClient, run_uid: str, name: str, target: Path) -> Input:
    """Fetch one input. The check may run as any user, so the file is readable by all."""
    partial = target.with_name(f".{target.name}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            url = f"/v1/runs/{run_uid}/inputs/{name}"
            got = client.download(url, file, max_bytes=limits.CHECK_INPUT_MAX)
        partial.chmod(0o644)
        partial.replace(target)
    except OSError as fault:
        raise WorldError("E7602", f"{name} cannot be written", where=str(target), why=str(fault)) from fault
    return Input(name=name, digest=got.digest, size=got.size)


def fetch_all(fetch: Callable[[str, Path], Input], data: Path) -> tuple[Input, ...]:
    """Return all inputs of the contract, in its order."""
    return tuple(fetch(name, data / place) for name, place in INPUTS)
