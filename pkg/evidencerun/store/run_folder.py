# SPDX-License-Identifier: Apache-2.0
"""What stands on the volume for one run, and where. All functions block; the server calls them in threads.

```
runs/<uid>/plan.json redaction.key logs.key run.json     made together, once
  nodes/<node uid>  conflicts/<node uid>/<sha256>  joined/<node uid>     reports
  attempts/<check>.<n>/entry.json log-<i> results/<file>                 ledger, logs, results
  evaluation/{evaluation.json nodes.json snapshot.yaml validation.yaml}  made together, once
  seal.json  bundle/{layer config manifest logs facts.json}              asked, then assembled together, once
  refusal.json  attestation.json  archive  final.json                    the sealer's answers; final.json comes last
  closed.json
```
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final, TypeVar

from evidencerun import limits
from evidencerun.store import disk
from evidencerun.store.ledger import AttemptKey, LedgerEntry
from evidencerun.store.refusals import RefusalError, conflict, too_large
from evidencerun.validation.spec import SpecModel
from evidencerun.validation.storeapi import BundleView, CheckCounts, Evaluation, SealRequest, Verdict

RUN_UID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_RESULT_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}|_sidecar\.json")
M = TypeVar("M", bound=SpecModel)


class RunCard(SpecModel):
    """`run.json`: what must be known of a run without reading its plan."""

    uid: str
    name: str
    namespace: str
    plan_digest: str
    bundle_seconds: float
    """How long the bundle is kept after the run was closed."""
    signing_mode: str
    created_at: str


class SealOrder(SpecModel):
    """`seal.json`: the request that counted, the first one, and when it came."""

    request: SealRequest
    sealed_at: str


class BundleFacts(SpecModel):
    """`bundle/facts.json`: what was assembled. `view.archive_digest` is the layer's until the bundle is signed."""

    view: BundleView
    verdict: Verdict
    counts: CheckCounts
    config_digest: str


class SealerRefusal(SpecModel):
    """`refusal.json`: the sealer's last word on why there is no signature."""

    code: str
    message: str
    at: str


class Closed(SpecModel):
    """`closed.json`: the bundle may go after `delete_after` (seconds since 1970, UTC)."""

    at: str
    delete_after: float


class RunFolder:
    """The folder of one run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.nodes = path / "nodes"
        self.joined = path / "joined"
        self.attempts = path / "attempts"
        self.evaluation = path / "evaluation"
        self.bundle = path / "bundle"
        self.archive = path / "archive"
        self.attestation = path / "attestation.json"

    def create(self, card: RunCard, *, plan: bytes, redaction_key: bytes, logs_key: bytes) -> bool:
        """Create the run; False if it is there already."""
        files = {
            "plan.json": plan,
            "run.json": card.model_dump_json(by_alias=True).encode(),
            "redaction.key": redaction_key,
            "logs.key": logs_key,
        }
        return disk.put_folder(self.path, files)

    def read(self, name: str) -> bytes:
        """Return a file of the run's own folder."""
        return (self.path / name).read_bytes()

    def load(self, model: type[M], name: str) -> M | None:
        """Return a document, or None if it is not there."""
        path = self.path / name
        return model.model_validate_json(path.read_bytes()) if path.exists() else None

    def save(self, name: str, document: SpecModel) -> None:
        """Write a document durably."""
        disk.put(self.path / name, document.model_dump_json(by_alias=True).encode())

    def load_evaluation(self) -> Evaluation | None:
        """Return the stored evaluation, or None."""
        return self.load(Evaluation, "evaluation/evaluation.json")

    def attempt_folder(self, key: AttemptKey) -> Path:
        """Return the folder of an attempt; the check's name is a DNS label, so it has no dot."""
        return self.attempts / f"{key[0]}.{key[1]}"

    def save_entry(self, entry: LedgerEntry) -> None:
        """Write a ledger entry durably."""
        path = self.attempt_folder(entry.key) / "entry.json"
        disk.make_folder(path.parent)
        disk.put(path, entry.model_dump_json(by_alias=True).encode())

    def load_ledger(self) -> dict[AttemptKey, LedgerEntry]:
        """Return all ledger entries."""
        ledger: dict[AttemptKey, LedgerEntry] = {}
        for path in sorted(self.attempts.glob("*/entry.json")):
            entry = LedgerEntry.model_validate_json(path.read_bytes())
            ledger[entry.key] = entry
        return ledger

    def put_result(self, key: AttemptKey, name: str, data: bytes) -> None:
        """Store a result file durably, replacing an earlier content of it.

        Raises `RefusalError` 400 (name), 409 (number of files), 413 (their sum), `VolumeFullError`.
        """
        if not _RESULT_NAME.fullmatch(name):
            why = "letters, digits, dot, dash and underscore, at most 128, beginning with a letter or digit"
            raise RefusalError(400, "E4506", "a result file cannot have this name", why=why)
        folder = self.attempt_folder(key) / "results"
        sizes = result_sizes(folder)
        if name not in sizes and len(sizes) >= limits.RESULT_FILES_MAX:
            raise conflict("the attempt has too many result files", why=f"at most {limits.RESULT_FILES_MAX} are kept")
        if sum(sizes.values()) - sizes.get(name, 0) + len(data) > limits.RESULTS_TOTAL_MAX:
            raise too_large("the sum of the attempt's result files", limits.RESULTS_TOTAL_MAX)
        disk.make_folder(folder)
        disk.put(folder / name, data)

    def results(self, key: AttemptKey) -> dict[str, bytes]:
        """Return the result files of an attempt by name."""
        folder = self.attempt_folder(key) / "results"
        return {name: (folder / name).read_bytes() for name in sorted(result_sizes(folder))}

    def result_names(self, key: AttemptKey) -> list[str]:
        """Return the names of an attempt's result files, sorted."""
        return sorted(result_sizes(self.attempt_folder(key) / "results"))

    def finish(self, *, archive: bytes, attestation: bytes, view: BundleView) -> None:
        """Store the signed bundle. `final.json` comes last: without it the steps before are repeated after a kill."""
        disk.put(self.attestation, attestation)
        disk.put(self.archive, archive)
        self.save("final.json", view)

    def shrink(self) -> None:
        """Remove what only a running run needs; plan, keys and bundle stay."""
        for folder in (self.nodes, self.path / "conflicts", self.joined, self.attempts, self.evaluation):
            disk.remove_folder(folder)

    def remove(self) -> None:
        """Remove the run."""
        disk.remove_folder(self.path)


def result_sizes(folder: Path) -> Mapping[str, int]:
    """Return the sizes of the files in a folder of results."""
    if not folder.is_dir():
        return {}
    with os.scandir(folder) as entries:
        return {e.name: e.stat().st_size for e in entries if not e.name.startswith(disk.TEMPORARY)}
