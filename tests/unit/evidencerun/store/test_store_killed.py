# SPDX-License-Identifier: Apache-2.0
"""A real store process, killed with SIGKILL while reports pour in (in front of the fake API server)."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

UID = "0a1b2c3d-0000-4000-8000-000000000001"
NODES = 60


@contextlib.asynccontextmanager
async def _store(folder: Path, kubeconfig: Path) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    env = {
        **os.environ,
        "EVIDENCERUN_DATA": str(folder),
        "EVIDENCERUN_HOST": "127.0.0.1",
        "EVIDENCERUN_PORT": "0",
        "EVIDENCERUN_CLUSTER_CA_FILE": str(folder / "none"),
        "KUBECONFIG": str(kubeconfig),
    }
    words = (sys.executable, "-m", "evidencerun.store.main")
    process = await asyncio.create_subprocess_exec(*words, stdout=asyncio.subprocess.PIPE, env=env)
    try:
        assert process.stdout is not None
        while line := await process.stdout.readline():
            event = json.loads(line)
            if event["event"] == "store.ready":
                break
        else:
            pytest.fail("the store did not start")
        drain = asyncio.create_task(process.stdout.read())
        yield process, f"https://127.0.0.1:{event['port']}"
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        await drain


async def test_every_acknowledged_report_survives_a_kill(
    fake_api: Any, tmp_path: Path, plan_for: Any, report_of: Any, node_of: Any, client_of: Any
) -> None:
    api, kubeconfig = fake_api
    api.nodes = [node_of(number) for number in range(1, NODES + 1)]
    plan, folder = plan_for(api), tmp_path / "data"
    operator = api.operator_token()
    acknowledged: set[str] = set()

    async def send(client: Any, number: int) -> None:
        path, headers = f"/v1/runs/{UID}/nodes/self", {"Content-Encoding": "gzip"}
        body = client.packed(report_of(number))
        with contextlib.suppress(aiohttp.ClientError, ConnectionError):
            status, _, _ = await client.call("PUT", path, token=api.probe_token(number), data=body, headers=headers)
            if status in (200, 201):
                acknowledged.add(f"node-uid-{number:04d}")

    async with _store(folder, kubeconfig) as (process, base), client_of(folder, base) as client:
        status, body, _ = await client.call("PUT", f"/v1/runs/{UID}", token=operator, json_body=plan)
        assert status == 201, body
        sending = [asyncio.create_task(send(client, number)) for number in range(1, NODES + 1)]
        while len(acknowledged) < 10:
            await asyncio.wait([task for task in sending if not task.done()], return_when=asyncio.FIRST_COMPLETED)
        process.kill()
        await process.wait()
        await asyncio.gather(*sending)
    before = set(acknowledged)
    assert 10 <= len(before) < NODES
    async with _store(folder, kubeconfig) as (_, base), client_of(folder, base) as client:
        status, body, _ = await client.call("GET", f"/v1/runs/{UID}", token=operator)
        assert before <= set(json.loads(body)["reported"])
        await asyncio.gather(*(send(client, number) for number in range(1, NODES + 1)))
        status, body, _ = await client.call("GET", f"/v1/runs/{UID}", token=operator)
        assert len(json.loads(body)["reported"]) == NODES
        status, body, _ = await client.call("POST", f"/v1/runs/{UID}/evaluate", token=operator, json_body={})
        assert json.loads(body)["reported"] == NODES
    assert not list(folder.rglob(".new-*"))


async def test_a_store_told_to_end_finishes_what_it_does(fake_api: Any, tmp_path: Path, client_of: Any) -> None:
    _, kubeconfig = fake_api
    async with _store(tmp_path / "data", kubeconfig) as (process, base), client_of(tmp_path / "data", base) as client:
        status, body, _ = await client.call("GET", "/healthz")
        assert (status, json.loads(body)["status"]) == (200, "ok")
        process.terminate()
        assert await process.wait() == 0
