# SPDX-License-Identifier: Apache-2.0
"""The bill of materials that belongs to a run record and a recipe: by the builder to write, by the verifier to compare.

Two versions of the CycloneDX library may write the same contents in other orders, so contents are compared, not bytes.
"""

from __future__ import annotations

from evidencerun.bom.cyclonedx_bom import DeployedComponent, SeenImage, build_bom
from evidencerun.bundle.record import RunRecord
from evidencerun.recipe import Recipe


def bom_of(record: RunRecord, recipe: Recipe) -> bytes:
    """Return the BOM: the recipe's enabled components, and every image that was seen running."""
    own = [SeenImage(image=image.image, image_id=image.image_id, role=image.role) for image in record.images]
    workloads = [
        SeenImage(
            image=seen.image,
            image_id=seen.image_id,
            role="workload",
            component=seen.component,
            places=(f"{seen.namespace}/{seen.kind}/{seen.name}/{seen.container}",),
        )
        for seen in record.observed_images
    ]
    data, _ = build_bom(
        recipe_name=recipe.name,
        producer_version=record.producer.version,
        run_uri=f"urn:evidencerun:{record.plan.run.uid}",
        timestamp=record.seal.sealed_at,
        components=[
            DeployedComponent(
                name=part.name,
                type=part.type,
                version=part.version or part.tag,
                source=part.source,
                chart=part.chart,
                namespace=part.namespace,
            )
            for part in recipe.components
            if part.enabled
        ],
        images=[*own, *workloads],
    )
    return data


def bom_contents(document: object) -> object:
    """Return what a BOM says, with every list in an order that follows from its items."""
    if isinstance(document, dict):
        return {key: bom_contents(member) for key, member in sorted(document.items())}
    if isinstance(document, list):
        return sorted((bom_contents(item) for item in document), key=repr)
    return document
