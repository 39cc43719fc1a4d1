# SPDX-License-Identifier: Apache-2.0
"""Check `expected-resources`: what the recipe deploys is there and ready.

One look, no waiting: a run is made of a cluster that stands, and a check that waits hides how long something took. Only
errors of the API are tried again. A 403 is a failure to look, never a verdict about the cluster.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from evidencerun import limits
from evidencerun.checks.checkresult import CheckResult, Ending, details_document, skipped
from evidencerun.checks.readiness import KINDS, Kind
from evidencerun.checks.workloadimages import ObjectReader, RunningImage, workload_images
from evidencerun.errors import ClusterError, InputError
from evidencerun.kube.base import Object
from evidencerun.recipe import Component, ExpectedResource

NAME: Final = "expected-resources"
_NAMESPACE: Final = "Namespace"


class Outcome(StrEnum):
    """How one expected object stands."""

    READY = "ready"
    NOT_READY = "not-ready"
    MISSING = "missing"
    CANNOT_JUDGE = "cannot-judge"
    NOT_DECLARED = "not-declared"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line of the result: an object of a component, or the component itself if it declares none."""

    component: str
    object: str
    outcome: Outcome
    expected: str
    found: str

    def text(self) -> str:
        """Return the finding as one line that names the object."""
        return f"{self.object} ({self.component}): {self.outcome}, expected {self.expected}, found {self.found}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """All findings, and the images of the workloads that were looked at."""

    findings: tuple[Finding, ...] = ()
    images: Counter[RunningImage] = field(default_factory=Counter)


def inspect(components: Sequence[Component], reader: ObjectReader) -> Inspection:
    """Look at every expected object of every enabled component once.

    Raises `ClusterError` if the API refuses to show an object or does not answer, `InputError` E7702 for more objects
    than are looked at.
    """
    enabled = [component for component in components if component.enabled]
    total = sum(len(component.expected_resources) for component in enabled)
    if total > limits.CHECK_RESOURCES_MAX:
        why = f"{total} found, at most {limits.CHECK_RESOURCES_MAX} are looked at"
        raise InputError("E7702", "the recipe expects too many resources", where="componentRefs", why=why)
    findings: list[Finding] = []
    images: Counter[RunningImage] = Counter()
    for component in enabled:
        for resource in _wanted(component):
            finding, obj = _look(component, resource, reader)
            findings.append(finding)
            if obj is not None:
                images.update(workload_images(reader, obj, component.name))
        if not component.expected_resources:
            findings.append(_undeclared(component))
    return Inspection(findings=tuple(findings), images=images)


def judge(inspection: Inspection) -> CheckResult:
    """Return the verdict: passed only if there was something to look at and all of it is ready.

    Failed only if something is known not to be ready; what merely cannot be judged ends as other.
    """
    findings = inspection.findings
    if not findings:
        return skipped("nothing-declared", "the recipe has no enabled component")
    bad = [finding for finding in findings if finding.outcome is not Outcome.READY]
    lines = tuple(finding.text() for finding in findings)
    if not bad:
        message = f"all {len(findings)} expected objects are ready"
        return CheckResult(status=Ending.PASSED, message=message, lines=lines)
    unknown = sum(finding.outcome is Outcome.CANNOT_JUDGE for finding in bad)
    known = len(bad) - unknown
    heads = [f"{known} of {len(findings)} expected objects are not ready"] if known else []
    heads += [f"{unknown} of {len(findings)} expected objects cannot be judged"] if unknown else []
    message = "\n".join(["; ".join(heads), *(f"- {finding.text()}" for finding in bad)])
    return CheckResult(status=Ending.FAILED if known else Ending.OTHER, message=message, lines=lines)


def details(inspection: Inspection) -> dict[str, Any]:
    """Return the content of /results/details.json: every finding."""
    items = [
        {
            "component": finding.component,
            "object": finding.object,
            "outcome": finding.outcome,
            "expected": finding.expected,
            "found": finding.found,
        }
        for finding in inspection.findings
    ]
    return details_document(NAME, items)


def _wanted(component: Component) -> Iterator[ExpectedResource]:
    """Yield the namespaces of a component, each once, then its expected resources."""
    namespaces = [component.namespace, *(resource.namespace for resource in component.expected_resources)]
    for namespace in dict.fromkeys(name for name in namespaces if name):
        yield ExpectedResource(kind=_NAMESPACE, name=namespace)
    yield from component.expected_resources


def _look(component: Component, resource: ExpectedResource, reader: ObjectReader) -> tuple[Finding, Object | None]:
    kind = KINDS.get(resource.kind)
    namespace = resource.namespace or component.namespace
    if kind is None:
        return _cannot_judge(component, resource, _why_not(resource.kind)), None
    if not kind.namespaced:
        namespace = ""
    elif not namespace:
        return _cannot_judge(component, resource, "neither resource nor component names a namespace"), None
    name = f"{resource.kind} {namespace}/{resource.name}" if namespace else f"{resource.kind} {resource.name}"
    return _fetch(component, kind, reader, name=resource.name, namespace=namespace, shown=name)


def _fetch(
    component: Component, kind: Kind, reader: ObjectReader, *, name: str, namespace: str, shown: str
) -> tuple[Finding, Object | None]:
    def finding(outcome: Outcome, expected: str, found: str) -> Finding:
        return Finding(component=component.name, object=shown, outcome=outcome, expected=expected, found=found)

    try:
        obj = reader.get(kind.resource, name, namespace=namespace)
    except ValueError as fault:
        return finding(Outcome.CANNOT_JUDGE, "an object's name", str(fault)), None
    except ClusterError as fault:
        if fault.status != 404:
            raise
        return finding(Outcome.MISSING, "an object of this name", "none"), None
    obj = {"kind": kind.resource.kind, **obj}
    judgement = kind.judge(obj)
    outcome = Outcome.READY if judgement.ready else Outcome.NOT_READY
    return finding(outcome, judgement.expected, judgement.found), obj


def _cannot_judge(component: Component, resource: ExpectedResource, why: str) -> Finding:
    shown = "/".join(part for part in (resource.namespace or component.namespace, resource.name) if part)
    return Finding(
        component=component.name,
        object=f"{resource.kind} {shown}",
        outcome=Outcome.CANNOT_JUDGE,
        expected=f"one of the kinds {', '.join(sorted(KINDS))}",
        found=why,
    )


def _why_not(kind: str) -> str:
    if kind == "Secret":
        return "kind Secret cannot be judged: checks never read secrets"
    return f"kind {kind[:80]} cannot be judged"


def _undeclared(component: Component) -> Finding:
    return Finding(
        component=component.name,
        object=f"component {component.name}",
        outcome=Outcome.NOT_DECLARED,
        expected="expectedResources that say what must run",
        found="none declared, so nothing was proven about it",
    )
