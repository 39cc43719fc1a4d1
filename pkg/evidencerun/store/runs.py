# SPDX-License-Identifier: Apache-2.0
"""The runs that the store holds: a picture in memory of what stands on the volume, rebuilt from it at start."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from evidencerun import limits
from evidencerun.store import disk, report_files
from evidencerun.store.ledger import AttemptKey, LedgerEntry
from evidencerun.store.refusals import not_found
from evidencerun.store.run_folder import (
    RUN_UID,
    BundleFacts,
    Closed,
    RunCard,
    RunFolder,
    SealerRefusal,
    SealOrder,
)
from evidencerun.validation.plan import Plan
from evidencerun.validation.spec import CatalogEntry, Phase, SigningMode
from evidencerun.validation.storeapi import (
    AttemptState,
    AttemptView,
    BundleView,
    CheckCounts,
    Evaluation,
    RunView,
    SealState,
)


@dataclass(slots=True, kw_only=True)
class Run:
    """One run. Everything in it stands on the volume; a change is written there first.

    `targets` maps the uid of each target node to its name, `catalog` holds the checks that may run; both are empty
    once the run is closed.
    """

    card: RunCard
    folder: RunFolder
    targets: dict[str, str] = field(default_factory=dict)
    catalog: dict[tuple[str, Phase], CatalogEntry] = field(default_factory=dict)
    reported: set[str] = field(default_factory=set)
    ledger: dict[AttemptKey, LedgerEntry] = field(default_factory=dict)
    evaluation: Evaluation | None = None
    order: SealOrder | None = None
    facts: BundleFacts | None = None
    refusal: SealerRefusal | None = None
    final: BundleView | None = None
    closed: Closed | None = None
    trouble: str = ""
    """Why the bundle could not be assembled so far."""
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held by whoever changes the run, except for reports and results, which are files of their own."""

    @property
    def signs(self) -> bool:
        """Whether the policy wants a signature."""
        return self.card.signing_mode != SigningMode.NONE

    @property
    def seal_state(self) -> SealState:
        """Where sealing is."""
        if self.final is not None:
            return SealState.SEALED
        if self.facts is None:
            return SealState.FAILED if self.trouble else SealState.NONE
        if not self.signs:
            return SealState.UNSIGNED
        return SealState.FAILED if self.refusal else SealState.QUEUED

    @property
    def bundle(self) -> BundleView | None:
        """What is known of the bundle. While it waits for its signature it has no archive digest."""
        if self.final is not None or self.facts is None:
            return self.final
        if self.seal_state is SealState.QUEUED:
            return self.facts.view.model_copy(update={"archive_digest": "", "size": 0})
        return self.facts.view

    def close(self, closed: Closed) -> None:
        """Drop what is removed from the volume too, so that a restart changes no answer."""
        self.closed = closed
        self.targets, self.catalog, self.reported, self.ledger = {}, {}, set(), {}
        self.evaluation = None

    def view(self) -> RunView:
        """Return what the operator is told."""
        facts = self.facts
        reason = f"{self.refusal.code} {self.refusal.message}".strip() if self.refusal else self.trouble
        return RunView(
            uid=self.card.uid,
            plan_digest=self.card.plan_digest,
            reported=sorted(self.reported),
            evaluation=self.evaluation,
            attempts=[self._attempt(key) for key in sorted(self.ledger)],
            seal=self.seal_state,
            seal_reason="" if self.final else reason,
            verdict=facts.verdict if facts else None,
            counts=facts.counts if facts else CheckCounts(),
            bundle=self.bundle,
            closed=self.closed is not None,
        )

    def _attempt(self, key: AttemptKey) -> AttemptView:
        """Return a short view of an attempt; the bundle has the whole of it."""
        entry = self.ledger[key]
        view = entry.view([] if entry.state is AttemptState.ENDED else self.folder.result_names(key))
        short = {"message": view.message[: limits.VIEW_MESSAGE_MAX], "results": view.results[: limits.VIEW_RESULTS_MAX]}
        return view.model_copy(update=short)


class Published(StrEnum):
    """What anybody may fetch who has the digest or the key."""

    ARCHIVE = "archive"
    MANIFEST = "manifest"
    CONFIG = "config"
    LAYER = "layer"
    ATTESTATION = "attestation"
    LOGS = "logs"


def published_path(run: Run, part: Published) -> Path:
    """Return where a published part stands; the unsigned archive is the layer itself."""
    match part:
        case Published.ARCHIVE:
            return run.folder.archive if run.final is not None else run.folder.bundle / "layer"
        case Published.ATTESTATION:
            return run.folder.attestation
        case _:
            return run.folder.bundle / part.value


class Runs:
    """All runs by uid, and who may fetch what by which secret or digest."""

    def __init__(self, data: Path) -> None:
        self.root = data / "runs"
        self._runs: dict[str, Run] = {}
        self._bundles: dict[str, Run] = {}
        self._log_keys: dict[bytes, Run] = {}

    def load(self) -> list[str]:
        """Read everything from the volume; return the uids of runs that could not be read, which are left alone."""
        disk.make_folder(self.root)
        disk.sweep(self.root)
        unreadable = []
        for path in sorted(self.root.iterdir()):
            if not (path / "run.json").exists():
                # A run appears and goes as a whole, so this is a late write into a run that was just removed.
                disk.remove_folder(path)
                continue
            try:
                self._add(load_run(path))
            except (OSError, ValueError):
                unreadable.append(path.name)
        return unreadable

    def __iter__(self) -> Iterator[Run]:
        """Iterate over a copy, so that runs may come and go meanwhile."""
        return iter(list(self._runs.values()))

    def find(self, uid: str) -> Run | None:
        """Return a run, or None."""
        return self._runs.get(uid)

    def get(self, uid: str) -> Run:
        """Return a run; raises `RefusalError` 404."""
        run = self._runs.get(uid)
        if run is None:
            raise not_found(f"run {uid[:64]}")
        return run

    def adopt(self, path: Path) -> Run:
        """Take up a run that was just created on the volume."""
        run = load_run(path)
        self._add(run)
        return run

    def index(self, run: Run) -> None:
        """Make the bundle and the logs of a run retrievable, as far as they exist."""
        if run.facts is None:
            return
        layer = run.facts.view.archive_digest
        self._bundles[layer] = run
        if run.final is not None:
            self._bundles[run.final.archive_digest] = run
        if run.facts.view.logs_key:
            self._log_keys[_hidden(run.facts.view.logs_key)] = run

    def by_digest(self, digest: str) -> Run | None:
        """Return the run whose archive has this `sha256:` digest."""
        return self._bundles.get(digest)

    def by_log_key(self, key: str) -> Run | None:
        """Return the run whose logs have this key; the look-up's time tells nothing about keys."""
        return self._log_keys.get(_hidden(key))

    def forget(self, run: Run) -> None:
        """Take a run out of memory after its folder has been removed."""
        self._runs.pop(run.card.uid, None)
        self._bundles = {digest: other for digest, other in self._bundles.items() if other is not run}
        self._log_keys = {key: other for key, other in self._log_keys.items() if other is not run}

    def _add(self, run: Run) -> None:
        self._runs[run.card.uid] = run
        self.index(run)


def load_run(path: Path) -> Run:
    """Read one run from its folder. Raises `OSError` or `ValueError` if it cannot be read."""
    folder = RunFolder(path)
    card = folder.load(RunCard, "run.json")
    if card is None or not RUN_UID.fullmatch(path.name) or card.uid != path.name:
        raise ValueError(f"{path.name} is no run")
    run = Run(
        card=card,
        folder=folder,
        order=folder.load(SealOrder, "seal.json"),
        facts=folder.load(BundleFacts, "bundle/facts.json"),
        refusal=folder.load(SealerRefusal, "refusal.json"),
        final=folder.load(BundleView, "final.json"),
        closed=folder.load(Closed, "closed.json"),
    )
    if run.closed is None:
        _load_open(run)
    return run


def _load_open(run: Run) -> None:
    plan = Plan.model_validate_json(run.folder.read("plan.json"))
    run.targets = {node.uid: node.name for node in plan.target_nodes}
    run.catalog = {
        (check.name, check.phase): check.entry
        for check in plan.checks
        if check.entry is not None and not check.excluded
    }
    run.reported = {uid for uid in report_files.stored_uids(run.folder.nodes) if uid in run.targets}
    run.ledger = run.folder.load_ledger()
    run.evaluation = run.folder.load_evaluation()


def _hidden(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()
