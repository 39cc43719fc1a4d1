# SPDX-License-Identifier: Apache-2.0
"""A store in front of the fake API server, and a client that speaks to it over TLS."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from fake_kube_api import FakeApi, Kubelet, start_api
from store_samples import RUN_UID, node_object, packed, plan_document, report

from evidencerun.kube.aio import connect
from evidencerun.store.app import StoreServer
from evidencerun.store.service import StoreService
from evidencerun.store.settings import Settings


@dataclass
class Client:
    """Speaks to the store over TLS, with its published CA."""

    session: aiohttp.ClientSession
    base: str
    context: ssl.SSLContext

    packed = staticmethod(packed)

    async def call(
        self, method: str, path: str, *, token: str = "", json_body: Any = None, **options: Any
    ) -> tuple[int, bytes, Any]:
        headers = {**options.pop("headers", {}), **({"Authorization": f"Bearer {token}"} if token else {})}
        data = json.dumps(json_body).encode() if json_body is not None else options.pop("data", None)
        async with self.session.request(
            method, self.base + path, data=data, headers=headers, ssl=self.context, **options
        ) as response:
            return response.status, await response.read(), response.headers


@dataclass
class Rig:
    """A fake API server, a store, a client, and what makes them."""

    api: FakeApi
    server: StoreServer
    service: StoreService
    client: Client
    settings: Settings
    clock: Any

    async def restart(self) -> None:
        """Stop the store and start another on the same volume."""
        await self.server.stop()
        self.service = StoreService(
            self.settings, self.service.cluster, clock=self.clock, ticks=asyncio.get_running_loop().time
        )
        self.server = StoreServer(self.service, clock=self.clock)
        await self.server.start()
        self.client.base = f"https://127.0.0.1:{self.server.port}"

    async def call(self, method: str, path: str, **options: Any) -> tuple[int, bytes, Any]:
        return await self.client.call(method, path, **options)

    async def ok(self, method: str, path: str, **options: Any) -> Any:
        status, body, _ = await self.call(method, path, **options)
        assert 200 <= status < 300, (status, body)
        return json.loads(body) if body else None

    async def create(self, **changes: Any) -> dict[str, Any]:
        plan = plan_document(self.api, **changes)
        uid = plan["run"]["uid"]
        await self.ok("PUT", f"/v1/runs/{uid}", token=self.api.operator_token(), json_body=plan)
        return plan

    async def send_report(self, number: int, data: bytes | None = None, **options: Any) -> tuple[int, bytes, Any]:
        options.setdefault("token", self.api.probe_token(number))
        options.setdefault("headers", {"Content-Encoding": "gzip"})
        body = packed(report(number) if data is None else data)
        return await self.call("PUT", f"/v1/runs/{RUN_UID}/nodes/self", data=body, **options)

    async def view(self) -> Any:
        return await self.ok("GET", f"/v1/runs/{RUN_UID}", token=self.api.operator_token())

    async def attempt(self, state: str, check: str = "node-agreement", number: int = 1, **more: Any) -> Any:
        body = {
            "check": check,
            "phase": "deployment",
            "attempt": number,
            "jobName": f"ev-{RUN_UID[:8]}-{check}-{number}",
            "state": state,
            **more,
        }
        path = f"/v1/runs/{RUN_UID}/attempts"
        return await self.ok("POST", path, token=self.api.operator_token(), json_body=body)


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.time = datetime(2026, 11, 24, 1, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.time


@pytest.fixture
async def fake_api(tmp_path: Path) -> AsyncIterator[tuple[FakeApi, Path]]:
    """The fake API server and a kubeconfig that leads to it."""
    api = FakeApi()
    runner, kubeconfig = await start_api(api, tmp_path)
    yield api, kubeconfig
    await runner.cleanup()


@pytest.fixture
async def rig(tmp_path: Path, fake_api: tuple[FakeApi, Path]) -> AsyncIterator[Rig]:
    """A running store."""
    api, kubeconfig = fake_api
    settings = Settings(
        data=tmp_path / "data", host="127.0.0.1", port=0, cluster_ca=tmp_path / "none", kubeconfig=str(kubeconfig)
    )
    clock = Clock()
    cluster = await connect(kubeconfig=str(kubeconfig))
    service = StoreService(settings, cluster, clock=clock, ticks=asyncio.get_running_loop().time)
    server = StoreServer(service, clock=clock)
    await server.start()
    context = ssl.create_default_context(cafile=str(settings.data / "tls" / "authority" / "ca.crt"))
    context.check_hostname = False
    async with aiohttp.ClientSession() as session:
        client = Client(session=session, base=f"https://127.0.0.1:{server.port}", context=context)
        made = Rig(api=api, server=server, service=service, client=client, settings=settings, clock=clock)
        yield made
        await made.server.stop()
    await cluster.close()


@pytest.fixture
def kubelet(rig: Rig) -> Kubelet:
    """What writes pod statuses in the fake API server."""
    return Kubelet(rig.api)


@pytest.fixture
def plan_for() -> Any:
    """Make a plan that agrees with a fake API server."""
    return plan_document


@pytest.fixture
def report_of() -> Any:
    """Make a node's report."""
    return report


@pytest.fixture
def node_of() -> Any:
    """Make a Node object."""
    return node_object


@contextlib.asynccontextmanager
async def _client(folder: Path, base: str) -> AsyncIterator[Client]:
    context = ssl.create_default_context(cafile=str(folder / "tls" / "authority" / "ca.crt"))
    context.check_hostname = False
    async with aiohttp.ClientSession() as session:
        yield Client(session=session, base=base, context=context)


@pytest.fixture
def client_of() -> Any:
    """Connect to a store process: its data folder and its address."""
    return _client
