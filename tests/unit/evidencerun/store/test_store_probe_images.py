# SPDX-License-Identifier: Apache-2.0
"""Which probe images ran is the kubelets' word, counted over the pods that were looked at."""

from __future__ import annotations

from typing import Any

from evidencerun.errors import ClusterError
from evidencerun.store.probe_images import look
from evidencerun.store.report_files import Origin

ONE, TWO = (f"registry.example.com/probe@sha256:{digit * 64}" for digit in "12")


class Pods:
    """An API server that has these pods."""

    def __init__(self, *statuses: dict[str, Any] | None) -> None:
        self.statuses = statuses

    async def get(self, _: object, name: str, **__: object) -> dict[str, Any]:
        number = int(name.removeprefix("probe-"))
        status = self.statuses[number]
        if status is None:
            raise ClusterError("E3000", "there is none", status=404)
        return {"metadata": {"uid": status.get("uid", f"uid-{number}")}, "status": {"containerStatuses": [status]}}


def _origins(count: int) -> list[Origin]:
    return [
        Origin(
            node_uid=f"n{number}",
            node_name=f"node-{number}",
            pod_uid=f"uid-{number}",
            pod_name=f"probe-{number}",
            received_at="2026-11-24T00:00:00Z",
            sha256="0" * 64,
        )
        for number in range(count)
    ]


async def test_only_pods_that_were_seen_count() -> None:
    pods = Pods(
        {"image": "probe:1", "imageID": ONE},
        {"image": "probe:1", "imageID": ONE},
        {"image": "probe:1", "imageID": TWO},
        {"image": "probe:1", "imageID": ""},
        {"image": "probe:1", "imageID": "x" * 9000 + ONE},
        {"image": "x" * 9000, "imageID": ONE},
        {"image": "probe:1", "imageID": TWO, "uid": "another pod of that name"},
        None,
    )
    found = await look(pods, namespace="evidencerun-probes", origins=_origins(8))  # type: ignore[arg-type]
    assert [(seen.image_id, seen.pods) for seen in found.images] == [(ONE, 2), (TWO, 1)]


async def test_without_reports_nothing_is_claimed() -> None:
    found = await look(Pods(), namespace="evidencerun-probes", origins=[])  # type: ignore[arg-type]
    assert found.images == []
