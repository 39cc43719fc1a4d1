# SPDX-License-Identifier: Apache-2.0
"""Which probe images really ran: the kubelets' image ids of the pods whose reports are stored."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final

from pydantic import Field

from evidencerun import limits
from evidencerun.errors import ClusterError
from evidencerun.kube.base import PODS, ClusterPort
from evidencerun.store import report_files
from evidencerun.store.report_files import Origin
from evidencerun.validation.spec import SpecModel

PODS_MAX: Final = 256
"""Pods that are looked at: enough to find a second image, few enough for the API server."""
_SECONDS: Final = 10
_AT_ONCE: Final = 16


class SeenImage(SpecModel):
    """An image that ran in so many of the probe pods that were looked at."""

    image: str
    image_id: str
    pods: int


class SeenImages(SpecModel):
    """`evaluation/images.json`: the distinct images of the pods that could be looked at."""

    images: Annotated[list[SeenImage], Field(default_factory=list)]


def some_origins(folder: Path, uids: Sequence[str]) -> list[Origin]:
    """Return where up to `PODS_MAX` reports came from. Blocks."""
    return [report_files.read_origin(folder / uid) for uid in sorted(uids)[:PODS_MAX]]


async def look(cluster: ClusterPort, *, namespace: str, origins: Sequence[Origin]) -> SeenImages:
    """Ask the API for the pods, within bounds; what cannot be read is left out, so the list may be short."""
    slots = asyncio.Semaphore(_AT_ONCE)
    found: Counter[tuple[str, str]] = Counter()

    async def one(origin: Origin) -> None:
        async with slots:
            try:
                pod = await cluster.get(PODS, origin.pod_name, namespace=namespace, within=_SECONDS)
            except ClusterError:
                return
        if (pod.get("metadata") or {}).get("uid") != origin.pod_uid:
            return
        statuses = (pod.get("status") or {}).get("containerStatuses") or ()
        shown = [(str(status.get("image") or ""), str(status.get("imageID") or "")) for status in statuses]
        # A kubelet may write texts of any length.
        found.update(image for image in shown if image[1] and max(map(len, image)) <= limits.REPORT_VALUE_MAX)

    tasks = [asyncio.create_task(one(origin)) for origin in origins]
    if tasks:
        _, late = await asyncio.wait(tasks, timeout=_SECONDS)
        for task in late:
            task.cancel()
    return SeenImages(
        images=[
            SeenImage(image=image, image_id=image_id, pods=pods) for (image, image_id), pods in sorted(found.items())
        ]
    )
