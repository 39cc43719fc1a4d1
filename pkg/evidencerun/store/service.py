# SPDX-License-Identifier: Apache-2.0
"""What the store does with runs, apart from HTTP: create, evaluate, seal, finish, close, abandon."""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime

from evidencerun import limits
from evidencerun.canonical import sha256_prefixed
from evidencerun.errors import ClusterError, Error, EvidenceError
from evidencerun.kube.base import EVIDENCE_POLICIES, EVIDENCE_RUNS, NODES, ClusterPort
from evidencerun.store import events_log
from evidencerun.store.assembling import assemble_bundle, finish_bundle
from evidencerun.store.attempts import Attempts
from evidencerun.store.evaluating import evaluate
from evidencerun.store.identity import Identities
from evidencerun.store.plan_check import NodeIdentity, differences, node_identity
from evidencerun.store.probe_images import look, some_origins
from evidencerun.store.public_keys import PublicKeys
from evidencerun.store.refusals import conflict, forbidden, not_found
from evidencerun.store.run_folder import RUN_UID, Closed, RunCard, RunFolder, SealerRefusal, SealOrder
from evidencerun.store.runs import Run, Runs
from evidencerun.store.settings import Settings
from evidencerun.store.volume_state import VolumeState
from evidencerun.validation.duration import parse_duration
from evidencerun.validation.plan import Plan
from evidencerun.validation.storeapi import Evaluation, RunView, SealAnswer, SealReason, SealRequest, SealState


class StoreService:
    """The store's state and what changes it. `clock` returns the time in UTC, `ticks` seconds that only grow."""

    def __init__(
        self,
        settings: Settings,
        cluster: ClusterPort,
        *,
        clock: Callable[[], datetime],
        ticks: Callable[[], float],
    ) -> None:
        self.settings = settings
        self.cluster = cluster
        self.runs = Runs(settings.data)
        self.keys = PublicKeys(settings.data / "keys")
        self.identities = Identities(cluster, ticks)
        self.attempts = Attempts(cluster, checks_namespace=settings.checks_namespace, now=self.now)
        self.volume = VolumeState(ticks)
        self._clock = clock
        self._ticks = ticks
        self._assemblies: dict[str, asyncio.Task[None]] = {}
        self._offered: dict[str, float] = {}
        self._heavy = asyncio.Lock()
        """Held for work that takes hundreds of megabytes with 5,000 nodes: one such at a time keeps to the limit."""
        self._offers: Counter[str] = Counter()

    def now(self) -> str:
        """Return the time as RFC 3339, UTC, whole seconds."""
        return self._clock().astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    async def start(self) -> None:
        """Read the volume and go on with what had begun."""
        unreadable = await asyncio.to_thread(self.runs.load)
        await asyncio.to_thread(self.keys.load)
        for name in unreadable:
            events_log.warn("run.unreadable", run=name)
        for run in self.runs:
            if run.closed is None:
                self.attempts.resume(run)
                if run.order is not None and run.facts is None:
                    self._assemble(run)
        await self.retire()

    async def stop(self) -> None:
        """End all background work."""
        await self.attempts.stop()
        for task in self._assemblies.values():
            task.cancel()
        await asyncio.gather(*self._assemblies.values(), return_exceptions=True)

    async def create(self, uid: str, plan: Plan) -> tuple[Run, bool]:
        """Store a plan once; return the run and whether it is new.

        Raises `RefusalError` 409 with every difference from what the API says, 403 for a namespace that is not served.
        """
        if not RUN_UID.fullmatch(uid) or plan.run.uid != uid:
            raise conflict("the plan is of another run", why=f"the path says {uid[:64]}, the plan says {plan.run.uid}")
        existing = self.runs.find(uid)
        if existing is not None:
            return existing, False
        causes = await self._plan_causes(plan)
        if causes:
            fix = "read run, policy and nodes again and plan anew"
            raise conflict("the plan differs from the cluster", causes=causes, fix=fix)
        created = await asyncio.to_thread(self._write_run, plan)
        run = self.runs.find(uid)
        if run is None:
            run = await asyncio.to_thread(self.runs.adopt, self.runs.root / uid)
        events_log.note("run.created", run=uid, name=plan.run.name, namespace=plan.run.namespace, new=created)
        return run, created

    async def _plan_causes(self, plan: Plan) -> list[str]:
        namespace = plan.run.namespace
        if namespace not in self.settings.run_namespaces:
            raise forbidden(f"runs in namespace {namespace} are not served", ", ".join(self.settings.run_namespaces))
        try:
            run = await self.cluster.get(EVIDENCE_RUNS, plan.run.name, namespace=namespace)
            policy = await self.cluster.get(EVIDENCE_POLICIES, plan.spec.policy)
        except ClusterError as fault:
            if fault.status == 404:
                return [f"{fault.where}: there is none"]
            raise
        nodes: list[NodeIdentity] = await self.cluster.list_all(NODES, project=node_identity)
        version = await self.cluster.server_version()
        causes = await asyncio.to_thread(differences, plan, run=run, policy=policy, nodes=nodes)
        if version.get("gitVersion") != plan.cluster.server.git_version:
            causes.append(f"cluster: its version is {version.get('gitVersion')}")
        authority = self.settings.cluster_ca
        if authority.exists() and sha256_prefixed(authority.read_bytes()) != plan.cluster.ca_digest:
            causes.append("cluster: the digest of its CA certificate is another")
        return causes

    def _write_run(self, plan: Plan) -> bool:
        data = plan.to_bytes()
        card = RunCard(
            uid=plan.run.uid,
            name=plan.run.name,
            namespace=plan.run.namespace,
            plan_digest=sha256_prefixed(data),
            bundle_seconds=parse_duration(plan.policy_spec.retention.bundles),
            signing_mode=plan.policy_spec.signing.mode,
            created_at=self.now(),
        )
        folder = RunFolder(self.runs.root / plan.run.uid)
        return folder.create(
            card, plan=data, redaction_key=secrets.token_bytes(32), logs_key=secrets.token_hex(16).encode()
        )

    async def evaluate(self, run: Run, stragglers: dict[str, str]) -> Evaluation:
        """Evaluate once; later calls return the first result."""
        if run.evaluation is not None:
            return run.evaluation
        _require_open(run)
        async with run.lock:
            if run.evaluation is None:
                origins = await asyncio.to_thread(some_origins, run.folder.nodes, list(run.reported))
                namespace = self.settings.probes_namespace
                images = await look(self.cluster, namespace=namespace, origins=origins)
                async with self._heavy:
                    run.evaluation = await asyncio.to_thread(
                        evaluate, run.folder, stragglers=stragglers, taken_at=self.now(), images=images
                    )
                found = run.evaluation
                events_log.note(
                    "run.evaluated", run=run.card.uid, match=found.overall, ready=found.ready, reported=found.reported
                )
        return run.evaluation

    async def seal(self, run: Run, request: SealRequest, *, patience: float) -> None:
        """Order the bundle, once, and wait up to `patience` seconds for it to be assembled.

        Raises `RefusalError` 409 if the run is said to have finished while an attempt has not been judged.
        """
        if run.order is None:
            _require_open(run)
            pending = [key for key, entry in run.ledger.items() if entry.judged is None]
            if pending and request.reason is SealReason.FINISHED:
                names = [f"{check} attempt {attempt}" for check, attempt in sorted(pending)]
                raise conflict("attempts have not been judged yet", causes=names, fix="report them as ended first")
            async with run.lock:
                if run.order is None:
                    order = SealOrder(request=request, sealed_at=self.now())
                    await asyncio.to_thread(run.folder.save, "seal.json", order)
                    run.order = order
                    events_log.note("run.seal-ordered", run=run.card.uid, reason=request.reason)
        task = self._assemble(run) if run.facts is None else None
        if task is not None:
            await asyncio.wait({task}, timeout=patience)

    def _assemble(self, run: Run) -> asyncio.Task[None]:
        task = self._assemblies.get(run.card.uid)
        if task is None or task.done():
            task = asyncio.create_task(self._assemble_forever(run))
            self._assemblies[run.card.uid] = task
        return task

    async def _assemble_forever(self, run: Run) -> None:
        pause = 1.0
        while run.facts is None and run.order is not None and run.closed is None:
            try:
                await self.attempts.settle(run, run.order.request.reason)
                await self.evaluate(run, dict(run.order.request.stragglers))
                async with run.lock, self._heavy:
                    run.facts = await asyncio.to_thread(assemble_bundle, run, run.order)
                run.trouble = ""
                self.runs.index(run)
                manifest = run.facts.view.manifest_digest
                events_log.note("bundle.assembled", run=run.card.uid, manifest=manifest, verdict=run.facts.verdict)
                return
            except Error as fault:
                run.trouble = str(fault)
                events_log.warn("bundle.unassembled", run=run.card.uid, why=run.trouble)
            except Exception as fault:  # a fault of ours must show in the run's status, not only in a log
                run.trouble = f"internal error: {type(fault).__name__}: {fault}"[:1000]
                events_log.failed("bundle.unassembled", fault, run=run.card.uid)
            await asyncio.sleep(pause)
            pause = min(pause * 2, 30)

    def view(self, run: Run) -> RunView:
        """Return what the operator is told of a run."""
        update = {"durable": self.settings.persistent, "volume_trouble": self.volume.trouble}
        return run.view().model_copy(update=update)

    def next_to_sign(self) -> Run | None:
        """Return the bundle that was offered least often, of several the one that has waited longest; the offer counts.

        One that was refused rests for a while. One on which the sealer breaks down holds up no other.
        """
        waiting = [run for run in self.runs if run.closed is None and run.facts is not None and run.signs]
        now = self._ticks()
        ready = [run for run in waiting if run.final is None and self._offered.get(run.card.uid, 0) <= now]
        chosen = min(ready, key=self._turn, default=None)
        if chosen is not None:
            self._offers[chosen.card.uid] += 1
        return chosen

    def _turn(self, run: Run) -> tuple[int, str]:
        return self._offers[run.card.uid], run.order.sealed_at if run.order else ""

    def to_sign(self, manifest_digest: str) -> Run:
        """Return the run whose bundle has this OCI manifest; raises `RefusalError` 404."""
        for run in self.runs:
            if run.facts is not None and run.facts.view.manifest_digest == manifest_digest:
                return run
        raise not_found(f"bundle {manifest_digest[:80]}")

    async def answer(self, run: Run, answer: SealAnswer) -> None:
        """Take the sealer's answer. Raises `EvidenceError` if the attestation is not right."""
        async with run.lock:
            if run.final is not None or run.facts is None:
                return
            if not answer.attestation:
                await self._refused(run, answer.error_code, answer.error)
                return
            attestation = answer.attestation.encode()
            try:
                async with self._heavy:
                    run.final = await asyncio.to_thread(finish_bundle, run, run.facts, attestation, self.keys)
            except EvidenceError as fault:
                await self._refused(run, fault.code, f"the store refuses the attestation: {fault}")
                raise
            self.runs.index(run)
            events_log.note(
                "bundle.sealed", run=run.card.uid, archive=run.final.archive_digest, signer=run.final.signer
            )

    async def _refused(self, run: Run, code: str, message: str) -> None:
        """Remember why there is no signature, and offer the bundle again later."""
        refusal = SealerRefusal(code=code, message=message[:2000], at=self.now())
        self._offered[run.card.uid] = self._ticks() + limits.SEAL_RETRY_SECONDS
        if run.refusal is None or (run.refusal.code, run.refusal.message) != (refusal.code, refusal.message):
            await asyncio.to_thread(run.folder.save, "refusal.json", refusal)
            events_log.warn("bundle.unsigned", run=run.card.uid, code=refusal.code, why=refusal.message)
            run.refusal = refusal

    async def close(self, run: Run) -> None:
        """Begin the retention of the bundle and remove what only a running run needs. Idempotent."""
        async with run.lock:
            if run.closed is None:
                end = self._clock().timestamp() + run.card.bundle_seconds
                closed = Closed(at=self.now(), delete_after=end)
                await asyncio.to_thread(run.folder.save, "closed.json", closed)
                run.close(closed)
                events_log.note("run.closed", run=run.card.uid, seal=run.seal_state)
            await self.attempts.forget(run)
            await asyncio.to_thread(run.folder.shrink)

    async def abandon(self, run: Run) -> None:
        """Drop a run that was deleted. A bundle that exists keeps its retention: somebody may hold its digest."""
        if run.seal_state in (SealState.SEALED, SealState.UNSIGNED):
            await self.close(run)
            return
        async with run.lock:
            await self.attempts.forget(run)
            self.runs.forget(run)
            run.close(Closed(at=self.now(), delete_after=0))
            await asyncio.to_thread(run.folder.remove)
            events_log.note("run.abandoned", run=run.card.uid)

    async def retire(self) -> None:
        """Remove bundles whose retention is over, and finish closings that a kill interrupted."""
        now = self._clock().timestamp()
        for run in self.runs:
            if run.closed is None:
                continue
            if run.closed.delete_after <= now:
                async with run.lock:
                    self.runs.forget(run)
                    await asyncio.to_thread(run.folder.remove)
                    events_log.note("run.removed", run=run.card.uid)
            elif run.folder.attempts.exists() or run.folder.nodes.exists() or run.folder.evaluation.exists():
                await asyncio.to_thread(run.folder.shrink)


def _require_open(run: Run) -> None:
    if run.closed is not None:
        raise conflict("the run is closed", why="its data has been removed, its bundle is kept")
