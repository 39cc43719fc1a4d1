# SPDX-License-Identifier: Apache-2.0
"""Assembles a run's bundle once, and finishes it with the sealer's attestation. Blocking code."""

from __future__ import annotations

from collections.abc import Iterator, Set
from datetime import datetime

from evidencerun import __version__, limits
from evidencerun.attest.keys import verify_signature
from evidencerun.attest.sigstore_bundle import parse_bundle
from evidencerun.attest.statement import signed_payload
from evidencerun.bundle import layout
from evidencerun.bundle.archive import read_archive, write_archive
from evidencerun.bundle.assemble import AssembledBundle, assemble
from evidencerun.bundle.inputs import AttemptRecord, BundleInputs, RanImage
from evidencerun.canonical import sha256_prefixed
from evidencerun.errors import EvidenceError
from evidencerun.recipe import load_recipe
from evidencerun.snapshot.nodes import NodeEntry, NodeState
from evidencerun.snapshot.nodes_reader import read_nodes
from evidencerun.snapshot.report import UnknownReason
from evidencerun.store import disk, report_files
from evidencerun.store.attempts import attempt_log
from evidencerun.store.evaluating import load_plan
from evidencerun.store.ledger import LedgerEntry, LogFacts
from evidencerun.store.probe_images import SeenImages
from evidencerun.store.public_keys import PublicKeys
from evidencerun.store.run_folder import BundleFacts, RunFolder, SealOrder
from evidencerun.store.runs import Run
from evidencerun.validation.storeapi import BundleView


def assemble_bundle(run: Run, order: SealOrder) -> BundleFacts:
    """Assemble and store the bundle; if there is one already, that one counts."""
    folder = run.folder
    stored = folder.load(BundleFacts, "bundle/facts.json")
    if stored is not None:
        return stored
    evaluation = folder.load_evaluation()
    if evaluation is None:
        raise ValueError("a run is evaluated before its bundle is assembled")
    plan = load_plan(folder)
    bundle = assemble(
        BundleInputs(
            plan=plan,
            plan_bytes=folder.read("plan.json"),
            recipe=load_recipe(plan.recipe),
            nodes=EvaluatedNodes(folder),
            taken_at=evaluation.taken_at,
            attempts=tuple(_attempt(run, entry) for _, entry in sorted(run.ledger.items())),
            seal=order.request,
            redaction_key=folder.read("redaction.key"),
            sealed_at=order.sealed_at,
            version=__version__,
            images=[
                RanImage(role="probe", image=seen.image, image_id=seen.image_id, pods=seen.pods)
                for seen in (folder.load(SeenImages, "evaluation/images.json") or SeenImages(images=[])).images
            ],
        )
    )
    facts = _facts(bundle, folder.read("logs.key").decode())
    disk.put_folder(
        folder.bundle,
        {
            "layer": bundle.oci_layer,
            "config": bundle.oci_config,
            "manifest": bundle.oci_manifest,
            "logs": bundle.logs_archive,
            "facts.json": facts.model_dump_json(by_alias=True).encode(),
        },
    )
    return facts


class EvaluatedNodes:
    """The nodes as they were evaluated, and what came of them since: it changes no value, and is disclosed.

    Each look at them reads the file anew, one node at a time.
    """

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder
        self._stored = set(report_files.stored_uids(folder.nodes))

    def __iter__(self) -> Iterator[NodeEntry]:
        """Yield the nodes, sorted by uid."""
        with (self._folder.evaluation / "nodes.json").open("rb") as file:
            for entry in read_nodes(file, exact=False):
                yield _since(self._folder, entry, self._stored)


def _since(folder: RunFolder, entry: NodeEntry, stored: Set[str]) -> NodeEntry:
    uid = entry.facts.uid
    update: dict[str, object] = {"conflicting_reports": report_files.conflict_count(folder.nodes, uid)}
    # A closed word is part of the fingerprint, which must stay what the checks were given.
    if entry.state is not NodeState.REPORTED and uid in stored and entry.reason not in set(UnknownReason):
        late = f"its report came after the evaluation; before it: {entry.reason or 'nothing was heard'}"
        update["reason"] = late[: limits.REPORT_VALUE_MAX]
    return entry.model_copy(update=update)


def _attempt(run: Run, entry: LedgerEntry) -> AttemptRecord:
    judged = entry.judged
    log = judged.log if judged else LogFacts()
    return AttemptRecord(
        view=entry.view(run.folder.result_names(entry.key)),
        ending=entry.ending,
        log=attempt_log(run, entry, log.dropped),
        log_truncated=log.dropped,
        results=run.folder.results(entry.key),
    )


def _facts(bundle: AssembledBundle, logs_key: str) -> BundleFacts:
    view = BundleView(
        archive_digest=sha256_prefixed(bundle.oci_layer),
        manifest_digest=bundle.manifest_digest,
        inventory_digest=bundle.inventory_digest,
        logs_digest=bundle.logs_digest,
        logs_key=logs_key if bundle.logs_digest else "",
        size=len(bundle.oci_layer),
    )
    return BundleFacts(
        view=view,
        verdict=bundle.verdict,
        counts=bundle.counts,
        config_digest=sha256_prefixed(bundle.oci_config),
    )


def finish_bundle(run: Run, facts: BundleFacts, attestation: bytes, keys: PublicKeys) -> BundleView:
    """Check an attestation, store it and the final archive, and return what is published; the first one stays.

    Raises `EvidenceError` if the payload is not exactly what had to be signed, or the signature is not that of a
    published key.
    """
    stored = run.folder.load(BundleView, "final.json")
    if stored is not None:
        return stored
    files = read_archive((run.folder.bundle / "layer").read_bytes())
    parsed = parse_bundle(attestation)
    if parsed.payload != signed_payload(files, facts.view.manifest_digest):
        raise EvidenceError("E4540", "the attestation does not speak about this bundle", why="its payload differs")
    pem = keys.find(parsed.key_digest)
    if pem is None:
        why = f"key:sha256:{parsed.key_digest.hex()}"
        raise EvidenceError("E4541", "the attestation is made with a key that was not published", why=why)
    key = verify_signature(pem, payload=parsed.payload, signature=parsed.signature, payload_type=parsed.payload_type)
    mtime = int(datetime.fromisoformat(run.order.sealed_at).timestamp()) if run.order else 0
    archive = write_archive({**files, layout.ATTESTATION: attestation}, mtime)
    view = facts.view.model_copy(
        update={"archive_digest": sha256_prefixed(archive), "size": len(archive), "signer": key.identity}
    )
    run.folder.finish(archive=archive, attestation=attestation, view=view)
    return view
