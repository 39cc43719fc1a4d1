# SPDX-License-Identifier: Apache-2.0
"""Whether a run may be planned at all, and if not, why: field, found, expected, fix; pure (docs/architecture.md)."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import TypeAdapter, ValidationError

from evidencerun.errors import Error
from evidencerun.recipe import Recipe, load_recipe
from evidencerun.snapshot.report import NodeFacts
from evidencerun.validation.duration import parse_duration
from evidencerun.validation.plan import PlannedCheck
from evidencerun.validation.spec import Name, Phase, RunSpec
from evidencerun_operator import wording
from evidencerun_operator.pools import target_nodes
from evidencerun_operator.run_object import Faulty, Policy, Run
from evidencerun_operator.suggestion import did_you_mean
from evidencerun_operator.world import Missing, PendingWorld

_CHECK_NAME: TypeAdapter[str] = TypeAdapter(Name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejection:
    """A run that cannot be planned. With `patience` the cause may still go away: objects are applied in any order."""

    reason: str
    message: str
    fix: str
    patience: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """A run that can be planned."""

    spec: RunSpec
    policy: Policy
    recipe: Recipe
    checks: tuple[PlannedCheck, ...]
    targets: tuple[NodeFacts, ...]
    deadline_seconds: float


def examine(run: Run, world: PendingWorld) -> Accepted | Rejection:
    """Return what is to be planned, or the first fault."""
    if run.ref.namespace not in world.places.runs:
        return _namespace(run, world)
    if isinstance(run.spec, Faulty):
        return _refused(run, "InvalidSpec", "; ".join(run.spec.faults))
    spec = run.spec
    match world.policy:
        case Missing(what=what, fix=fix):
            names = f"spec.policy: found {spec.policy}, expected the name of an EvidencePolicy; {what} does not exist"
            return Rejection(reason="PolicyNotFound", message=names, fix=fix, patience=True)
        case Faulty(faults=faults):
            text = f"EvidencePolicy {spec.policy} cannot be read: {'; '.join(faults)}"
            return Rejection(reason="InvalidPolicy", message=text, fix=f"kubectl edit evidencepolicy {spec.policy}")
        case Policy() as policy:
            pass
    if isinstance(world.recipe, Missing):
        text = f"spec.recipe.configMap: {world.recipe.what} does not exist"
        return Rejection(reason="RecipeNotFound", message=text, fix=world.recipe.fix, patience=True)
    try:
        recipe = load_recipe(world.recipe)
    except Error as fault:
        return _recipe_fault(run, spec, fault)
    return _limits(run, spec, policy) or _checks_and_nodes(run, spec, policy, recipe, world)


def _namespace(run: Run, world: PendingWorld) -> Rejection:
    allowed = ", ".join(world.places.runs)
    mend = f"change metadata.namespace to one that is served: {allowed}"
    return Rejection(
        reason="NamespaceNotAllowed",
        message=f"metadata.namespace: found {run.ref.namespace}, expected one of {allowed} (chart: runNamespaces)",
        fix=wording.again_command(run.ref, mend=mend),
    )


def _refused(run: Run, reason: str, message: str) -> Rejection:
    """A fault of the run's own spec, which cannot be changed: the way on is a new run."""
    return Rejection(reason=reason, message=message, fix=wording.again_command(run.ref, mend="mend the manifest"))


def _recipe_fault(run: Run, spec: RunSpec, fault: Error) -> Rejection:
    source = spec.recipe.config_map
    field = "spec.recipe.inline" if source is None else f"spec.recipe.configMap {source.name}, key {source.key}"
    place = f", {fault.where}" if fault.where else ""
    parts = [f"{field}{place}: {fault.code} {fault.what}", fault.why, f"fix: {fault.fix}" if fault.fix else ""]
    return _refused(run, "InvalidRecipe", "; ".join(part for part in parts if part))


def _limits(run: Run, spec: RunSpec, policy: Policy) -> Rejection | None:
    most = policy.spec.limits.max_deadline
    if parse_duration(spec.deadline) > parse_duration(most):
        text = f"spec.deadline: found {spec.deadline}, expected at most {most} (policy {policy.identity.name})"
        return _refused(run, "DeadlineTooLong", text)
    if parse_duration(spec.deadline) <= 0:
        return _refused(run, "InvalidSpec", f"spec.deadline: found {spec.deadline}, expected more than 0s")
    known = [pool.name for pool in policy.spec.pools]
    for name in spec.target.pools:
        if name not in known:
            text = f"spec.target.pools: policy {policy.identity.name} has no pool {name}; {did_you_mean(name, known)}"
            return _refused(run, "UnknownPool", text)
    return None


def _checks_and_nodes(
    run: Run, spec: RunSpec, policy: Policy, recipe: Recipe, world: PendingWorld
) -> Accepted | Rejection:
    checks = planned_checks(spec, policy, recipe)
    fault = _check_names(run, spec, policy, recipe)
    if fault is not None:
        return fault
    targets = target_nodes(policy.spec.pools, spec.target.pools, world.nodes)
    ours, theirs = spec.target.max_nodes, policy.spec.limits.max_nodes
    most, field = (ours, "spec.target.maxNodes") if ours is not None and ours <= theirs else (theirs, "limits.maxNodes")
    where = field if field.startswith("spec") else f"{field} of policy {policy.identity.name}"
    if len(targets) > most:
        text = f"{where}: found {len(targets)} target nodes, expected at most {most}"
        return _refused(run, "TooManyNodes", f"{text}; narrow spec.target.pools or raise the limit")
    if not targets:
        chosen = ", ".join(spec.target.pools or [pool.name for pool in policy.spec.pools])
        text = f"spec.target.pools: none of the {len(world.nodes)} nodes belongs to a pool of: {chosen}"
        return _refused(run, "NoTargetNodes", f"{text}; see the nodeSelectors of policy {policy.identity.name}")
    return Accepted(
        spec=spec,
        policy=policy,
        recipe=recipe,
        checks=checks,
        targets=tuple(targets),
        deadline_seconds=parse_duration(spec.deadline),
    )


def _check_names(run: Run, spec: RunSpec, policy: Policy, recipe: Recipe) -> Rejection | None:
    catalog = [entry.name for entry in policy.spec.catalog]
    for member, names in (("only", spec.checks.only), ("skip", spec.checks.skip)):
        for name in names:
            if name not in catalog:
                text = f"spec.checks.{member}: the catalog of policy {policy.identity.name} has no check {name}"
                return _refused(run, "UnknownCheck", f"{text}; {did_you_mean(name, catalog)}")
    declared = declared_checks(spec, recipe)
    for name in spec.checks.only:
        if all(name != known for _, known in declared):
            listed = ", ".join(known for _, known in declared) or "none"
            text = f"spec.checks.only: the recipe does not declare {name} in the phases of this run; declared: {listed}"
            return _refused(run, "CheckNotDeclared", text)
    for _, name in declared:
        try:
            _CHECK_NAME.validate_python(name)
        except ValidationError:
            text = f"recipe: check name {name[:80]!r} is no DNS label of at most 63 characters"
            return _refused(run, "InvalidRecipe", text)
    return None


def declared_checks(spec: RunSpec, recipe: Recipe) -> list[tuple[Phase, str]]:
    """Return what the recipe declares in the phases of this run, each name once per phase."""
    phases = [phase for phase in Phase if not spec.phases or phase in spec.phases]
    return [(phase, name) for phase in phases for name in dict.fromkeys(recipe.phase(phase).checks)]


def planned_checks(spec: RunSpec, policy: Policy, recipe: Recipe) -> tuple[PlannedCheck, ...]:
    """Return the plan's checks: by phase, then in catalog order, then those that the catalog lacks."""
    if spec.fingerprint_only:
        return ()
    place = {(entry.phase, entry.name): index for index, entry in enumerate(policy.spec.catalog)}
    entries = {(entry.phase, entry.name): entry for entry in policy.spec.catalog}
    declared = declared_checks(spec, recipe)
    order = list(Phase)
    declared.sort(key=lambda item: (order.index(item[0]), place.get(item, len(place))))
    only, skip = spec.checks.only, spec.checks.skip
    return tuple(
        PlannedCheck.model_construct(
            name=name,
            phase=phase,
            entry=entries.get((phase, name)),
            excluded=name in skip or bool(only and name not in only),
        )
        for phase, name in declared
    )
