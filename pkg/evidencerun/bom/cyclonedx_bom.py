# SPDX-License-Identifier: Apache-2.0
"""The BOM as CycloneDX 1.6 JSON: deterministic, valid against the strict schema.

Applications are the recipe's components; containers are images that were seen running, and nothing else: what the
recipe says about images is a wish. A component without a seen image says so.
"""

from __future__ import annotations

import re
import uuid
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from cyclonedx.model import HashAlgorithm, HashType, Property
from cyclonedx.model.bom import Bom, BomMetaData
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.lifecycle import LifecyclePhase, PredefinedLifecycle
from cyclonedx.model.tool import ToolRepository
from cyclonedx.output import make_outputter
from cyclonedx.schema import OutputFormat, SchemaVersion
from packageurl import PackageURL

from evidencerun.bom.images import image_digest, parse_reference

_NAMESPACE: Final = uuid.UUID("6f0d4a0e-5c0a-5d3b-9d0b-3d6f6a2c1e77")
"""Our own namespace of name-based UUIDs, made once; with it a serial number follows from run and time."""
UNKNOWN: Final = "unknown"
_PLAIN_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class DeployedComponent:
    """What the recipe deploys; texts that it does not give are ""."""

    name: str
    type: str = ""
    version: str = ""
    source: str = ""
    chart: str = ""
    namespace: str = ""


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class SeenImage:
    """An image that ran: as it was asked for, the kubelet's imageID, and for what.

    `component` is the recipe component that ran it, "" for our own pods; `role` is `check`, `probe` or `workload`.
    """

    image: str
    image_id: str
    role: str
    component: str = ""
    places: tuple[str, ...] = field(default=())
    """Where it ran: names of checks, or namespace/kind/name/container."""


def build_bom(
    *,
    recipe_name: str,
    producer_version: str,
    run_uri: str,
    timestamp: str,
    components: Sequence[DeployedComponent],
    images: Iterable[SeenImage],
) -> tuple[bytes, int]:
    """Return the BOM's bytes and the number of its components.

    `run_uri` makes the serial number; `timestamp` is RFC 3339. An image without a digest in its imageID is listed with
    the digest unknown.
    """
    with warnings.catch_warnings():
        # The library warns of recipes without components and of long versions: facts that a BOM states and no fault.
        warnings.simplefilter("ignore", UserWarning)
        return _build(
            recipe_name,
            producer_version,
            serial=f"{run_uri} {timestamp}",
            timestamp=timestamp,
            components=components,
            images=images,
        )


def _build(
    recipe_name: str,
    producer_version: str,
    *,
    serial: str,
    timestamp: str,
    components: Sequence[DeployedComponent],
    images: Iterable[SeenImage],
) -> tuple[bytes, int]:
    root = Component(type=ComponentType.APPLICATION, name=recipe_name, bom_ref=f"recipe:{recipe_name}")
    tool = Component(type=ComponentType.APPLICATION, name="evidencerun", version=producer_version)
    seen = sorted(images)
    applications = {part.name: _application(part, recipe_name, seen) for part in components}
    containers = {ref: _container(ref, group) for ref, group in _by_image(seen).items()}
    bom = Bom(
        components=[*applications.values(), *containers.values()],
        serial_number=uuid.uuid5(_NAMESPACE, serial),
        version=1,
        metadata=BomMetaData(
            component=root,
            timestamp=datetime.fromisoformat(timestamp),
            lifecycles=[PredefinedLifecycle(LifecyclePhase.OPERATIONS)],
            tools=ToolRepository(components=[tool]),
        ),
    )
    bom.register_dependency(root, applications.values())
    for name, application in applications.items():
        used = sorted({_ref(image) for image in seen if image.component == name})
        bom.register_dependency(application, [containers[ref] for ref in used])
    text = make_outputter(bom, OutputFormat.JSON, SchemaVersion.V1_6).output_as_string(indent=2)
    return text.encode() + b"\n", len(applications) + len(containers)


def _application(part: DeployedComponent, recipe_name: str, seen: Sequence[SeenImage]) -> Component:
    facts = {
        "aicr:component:type": part.type,
        "aicr:helm:repository": part.source,
        "aicr:helm:chart": part.chart,
        "aicr:helm:version": part.version,
        "aicr:helm:namespace": part.namespace,
        "aicr:version:pinned": "true" if part.version else "false",
        "evidencerun:images": "seen" if any(image.component == part.name for image in seen) else UNKNOWN,
    }
    return Component(
        type=ComponentType.APPLICATION,
        name=part.name,
        version=part.version or None,
        bom_ref=f"recipe:{recipe_name}/{part.name}",
        purl=PackageURL("helm", None, part.chart, part.version or None)
        if _PLAIN_NAME.fullmatch(part.chart.rpartition("/")[2])
        else None,
        properties=[Property(name=name, value=value) for name, value in facts.items() if value],
    )


def _container(ref: str, group: Sequence[SeenImage]) -> Component:
    first = group[0]
    reference, digest = parse_reference(first.image), image_digest(first.image_id)
    facts = [("evidencerun:image:reference", first.image), ("evidencerun:image:digest", digest or UNKNOWN)]
    facts += [("evidencerun:image:tag", reference.tag)] if reference.tag else []
    facts += [("evidencerun:image:role", role) for role in sorted({image.role for image in group})]
    facts += [("evidencerun:seen", place) for place in sorted({place for image in group for place in image.places})]
    return Component(
        type=ComponentType.CONTAINER,
        name=reference.repository,
        version=digest or reference.tag or None,
        bom_ref=ref,
        purl=_purl(first.image, digest),
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=digest.removeprefix("sha256:"))] if digest else [],
        properties=[Property(name=name, value=value) for name, value in facts],
    )


def _purl(image: str, digest: str) -> PackageURL | None:
    """Return the image's package URL; none for a name that no registry has: checks report names as they find them."""
    reference = parse_reference(image)
    if not _PLAIN_NAME.fullmatch(reference.short_name):
        return None
    qualifiers = {"repository_url": reference.repository}
    if reference.tag:
        qualifiers["tag"] = reference.tag
    return PackageURL("oci", None, reference.short_name, digest or None, qualifiers)


def _ref(image: SeenImage) -> str:
    digest = image_digest(image.image_id)
    return f"image:{parse_reference(image.image).repository}@{digest or 'unknown:' + image.image}"


def _by_image(seen: Sequence[SeenImage]) -> dict[str, list[SeenImage]]:
    groups: dict[str, list[SeenImage]] = {}
    for image in seen:
        groups.setdefault(_ref(image), []).append(image)
    return dict(sorted(groups.items()))
