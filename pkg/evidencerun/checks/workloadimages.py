# SPDX-License-Identifier: Apache-2.0
"""Which images really run in the pods of a workload, by the kubelet's word (`imageID`)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from evidencerun.checks.readiness import REPLICA_SETS
from evidencerun.kube.base import PODS, Object, Resource

WORKLOADS: Final = frozenset({"Deployment", "DaemonSet", "StatefulSet", "ReplicaSet", "Job"})


class ObjectReader(Protocol):
    """What a check needs of the Kubernetes API."""

    def get(self, resource: Resource, name: str, *, namespace: str = "") -> Object:
        """Return one object or raise `ClusterError`."""

    def list(self, resource: Resource, *, namespace: str, label_selector: str) -> Iterator[Object]:
        """Yield the objects that match or raise `ClusterError`."""


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class RunningImage:
    """One container of a workload: the image that was asked for, and the one that runs ("" if it never started)."""

    component: str
    kind: str
    namespace: str
    workload: str
    container: str
    image: str
    image_id: str


def workload_images(reader: ObjectReader, obj: Object, component: str) -> Counter[RunningImage]:
    """Return the images of the pods that the workload owns, with the number of pods each runs in."""
    kind = str(obj.get("kind", ""))
    metadata = _mapping(obj.get("metadata"))
    selector = selector_text(_mapping(_mapping(obj.get("spec")).get("selector")))
    if kind not in WORKLOADS or not selector:
        return Counter()
    namespace = str(metadata.get("namespace", ""))
    owners = {str(metadata.get("uid", ""))}
    if kind == "Deployment":
        replica_sets = reader.list(REPLICA_SETS, namespace=namespace, label_selector=selector)
        owners = {_uid(item) for item in replica_sets if _owner_uids(item) & owners}
    found: Counter[RunningImage] = Counter()
    for pod in reader.list(PODS, namespace=namespace, label_selector=selector):
        if not _owner_uids(pod) & owners:
            continue
        for name, image, image_id in _containers(pod):
            found[
                RunningImage(
                    component=component,
                    kind=kind,
                    namespace=namespace,
                    workload=str(metadata.get("name", "")),
                    container=name,
                    image=image,
                    image_id=image_id,
                )
            ] += 1
    return found


def images_list(found: Counter[RunningImage]) -> list[dict[str, str | int]]:
    """Return the content of /results/images.json as bundles read it; `kind` and `name` are the workload's."""
    return [
        {
            "component": image.component,
            "kind": image.kind,
            "namespace": image.namespace,
            "name": image.workload,
            "container": image.container,
            "image": image.image,
            "imageID": image.image_id,
            "pods": found[image],
        }
        for image in sorted(found)
    ]


def selector_text(selector: Mapping[str, Any]) -> str:
    """Return a label selector in the form of the query parameter."""
    parts = [f"{key}={value}" for key, value in sorted(_mapping(selector.get("matchLabels")).items())]
    for expression in selector.get("matchExpressions") or []:
        key, values = expression.get("key", ""), ",".join(expression.get("values") or [])
        match expression.get("operator"):
            case "In":
                parts.append(f"{key} in ({values})")
            case "NotIn":
                parts.append(f"{key} notin ({values})")
            case "Exists":
                parts.append(str(key))
            case "DoesNotExist":
                parts.append(f"!{key}")
    return ",".join(parts)


def _containers(pod: Object) -> Iterator[tuple[str, str, str]]:
    """Yield name, image asked for and image that runs, of ordinary and init containers."""
    spec, status = _mapping(pod.get("spec")), _mapping(pod.get("status"))
    for names, statuses in (("containers", "containerStatuses"), ("initContainers", "initContainerStatuses")):
        running = {str(item.get("name", "")): item for item in _entries(status.get(statuses))}
        for container in _entries(spec.get(names)):
            name = str(container.get("name", ""))
            image_id = str(running.get(name, {}).get("imageID") or "")
            yield name, str(container.get("image", "")), image_id


def _owner_uids(obj: Mapping[str, Any]) -> set[str]:
    owners = _entries(_mapping(obj.get("metadata")).get("ownerReferences"))
    return {str(owner.get("uid", "")) for owner in owners if owner.get("controller")}


def _uid(obj: Mapping[str, Any]) -> str:
    return str(_mapping(obj.get("metadata")).get("uid", ""))


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _entries(value: object) -> Iterable[Mapping[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
