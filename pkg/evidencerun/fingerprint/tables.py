# SPDX-License-Identifier: Apache-2.0
"""The tables that turn raw readings into the words of recipes, read once from the package's data files.

Every row says where it comes from. A row that is not sourced gives a value that is at most claimed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import Any, Final

_TOKEN_BREAK: Final = re.compile(r"[\s()/,_-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """What a table says: a value, whether its row is sourced, and a number where the row fixes one."""

    value: str
    sourced: bool
    count: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Accelerators:
    """Accelerators by PCI id and by product name."""

    by_pci: Mapping[tuple[str, str], Hit]
    by_name: Mapping[str, Hit]
    token_runs: tuple[tuple[tuple[str, ...], Hit], ...]
    gpu_classes: Mapping[str, frozenset[str]]
    any_vendor_classes: frozenset[str]
    vendors: Mapping[str, str]
    per_board: Mapping[str, int]
    words: Mapping[str, frozenset[str]]

    def is_accelerator(self, vendor: str, class_code: str) -> bool:
        """Return whether a PCI function of that vendor id and six-digit class is an accelerator."""
        base = class_code[:4]
        return base in self.any_vendor_classes or base in self.gpu_classes.get(vendor, frozenset())

    def named(self, name: str) -> Hit | None:
        """Return the accelerator of a product name as driver or label spell it; None if none or several fit."""
        tokens = _tokens(name)
        if whole := self.by_name.get(" ".join(tokens)):
            return whole
        # Asked of the first token alone for most rows: what a node reports as a name may have thousands.
        present = set(tokens)
        hits = {hit.value: hit for run, hit in self.token_runs if run[0] in present and _contains(tokens, run)}
        return next(iter(hits.values())) if len(hits) == 1 else None

    def satisfies(self, word: str, value: str) -> bool:
        """Return whether an accelerator of that name is what a recipe means by `word`."""
        return value == word or value in self.words.get(word, frozenset())


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceTypes:
    """Accelerators by instance type and by GKE's accelerator label."""

    exact: Mapping[str, Hit]
    prefixes: tuple[tuple[str, Hit], ...]
    gke: Mapping[str, Hit]

    def find(self, instance_type: str) -> Hit | None:
        """Return the accelerator of an instance type; the exact row before the longest prefix."""
        if hit := self.exact.get(instance_type):
            return hit
        fitting = [(prefix, hit) for prefix, hit in self.prefixes if instance_type.startswith(prefix)]
        return max(fitting, key=lambda pair: len(pair[0]))[1] if fitting else None


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceRow:
    """How one Kubernetes service shows itself."""

    value: str
    sourced: bool
    platform: bool
    provider_ids: tuple[re.Pattern[str], ...]
    kubelet: tuple[re.Pattern[str], ...]
    images: tuple[re.Pattern[str], ...]
    labels: tuple[str, ...]
    clouds: frozenset[str]

    def label_of(self, labels: Iterable[str]) -> str:
        """Return the first label, in order, that speaks for the service, "" if none does."""
        return next((key for key in sorted(labels) if self._speaks(key)), "")

    def _speaks(self, key: str) -> bool:
        # GKE's keys have no slash of their own after the prefix, so a prefix may end in a dash as well.
        return any(key == row or (row[-1] in "/-" and key.startswith(row)) for row in self.labels)


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatingSystem:
    """How one operating system shows itself."""

    value: str
    sourced: bool
    ids: frozenset[str]
    images: tuple[re.Pattern[str], ...]
    version_parts: int = field(default=2)


def _read(name: str) -> Any:
    return json.loads(resources.files("evidencerun.fingerprint").joinpath("data", f"{name}.json").read_bytes())


def _tokens(name: str) -> list[str]:
    return [token for token in _TOKEN_BREAK.split(name.upper()) if token]


def _contains(tokens: list[str], run: tuple[str, ...]) -> bool:
    return any(tuple(tokens[start : start + len(run)]) == run for start in range(len(tokens) - len(run) + 1))


def _patterns(texts: Iterable[str]) -> tuple[re.Pattern[str], ...]:
    return tuple(re.compile(text) for text in texts)


@cache
def accelerators() -> Accelerators:
    """Return the table of accelerators."""
    data = _read("accelerators")
    by_pci: dict[tuple[str, str], Hit] = {}
    by_name: dict[str, Hit] = {}
    runs: list[tuple[tuple[str, ...], Hit]] = []
    for row in data["rows"]:
        hit = Hit(value=row["value"], sourced=row["sourced"])
        vendor = data["vendors"][row["vendor"]]["pci"]
        by_pci.update({(vendor, device): hit for device in row["pci"]})
        by_name.update({" ".join(_tokens(name)): hit for name in row["names"]})
        runs += [(tuple(_tokens(run)), hit) for run in row["nameTokens"]]
    return Accelerators(
        by_pci=by_pci,
        by_name=by_name,
        token_runs=tuple(runs),
        gpu_classes={vendor["pci"]: frozenset(vendor["gpuClasses"]) for vendor in data["vendors"].values()},
        any_vendor_classes=frozenset(data["anyVendorClasses"]),
        vendors={vendor["pci"]: name for name, vendor in data["vendors"].items()},
        per_board={row["value"]: row.get("functionsPerBoard", 1) for row in data["rows"]},
        words={word: frozenset(values) for word, values in data["words"].items()},
    )


@cache
def instance_types() -> InstanceTypes:
    """Return the table of instance types."""
    data = _read("instance_types")
    hits = [
        (row["pattern"], Hit(value=row["value"], sourced=row["sourced"], count=row.get("count", 0)))
        for row in data["rows"]
    ]
    return InstanceTypes(
        exact={pattern: hit for pattern, hit in hits if not pattern.endswith("*")},
        prefixes=tuple((pattern[:-1], hit) for pattern, hit in hits if pattern.endswith("*")),
        gke={row["pattern"]: Hit(value=row["value"], sourced=row["sourced"]) for row in data["gkeAccelerators"]},
    )


@cache
def services() -> tuple[ServiceRow, ...]:
    """Return the table of Kubernetes services."""
    return tuple(
        ServiceRow(
            value=row["value"],
            sourced=row["sourced"],
            platform=row.get("platform", False),
            provider_ids=_patterns(row.get("providerIds", ())),
            kubelet=_patterns(row.get("kubelet", ())),
            images=_patterns(row.get("images", ())),
            labels=tuple(row.get("labels", ())),
            clouds=frozenset(row.get("clouds", ())),
        )
        for row in _read("services")["rows"]
    )


@cache
def operating_systems() -> tuple[OperatingSystem, ...]:
    """Return the table of operating systems."""
    return tuple(
        OperatingSystem(
            value=row["value"],
            sourced=row["sourced"],
            ids=frozenset(row["ids"]),
            images=_patterns(row["images"]),
            version_parts=row["versionParts"],
        )
        for row in _read("operating_systems")["rows"]
    )
