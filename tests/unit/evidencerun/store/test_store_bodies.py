# SPDX-License-Identifier: Apache-2.0
"""Hostile and clumsy bodies: each is refused with its own status, and the store stays well."""

from __future__ import annotations

import asyncio
import gzip
import io
import json
import os
import zlib
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from evidencerun import limits
from evidencerun.store import bodies, sending
from evidencerun.store.bodies import inflate
from evidencerun.store.refusals import RefusalError

UID = "0a1b2c3d-0000-4000-8000-000000000001"
PATH = f"/v1/runs/{UID}/nodes/self"


def _deep(levels: int) -> bytes:
    return b'{"a":' * levels + b"1" + b"}" * levels


def _packed(data: bytes) -> bytes:
    """gzip without a time, so that every process names the cases alike."""
    return gzip.compress(data, mtime=0)


@pytest.mark.parametrize(
    ("body", "expected", "word"),
    [
        (b"", 400, "gzip"),
        (b"no gzip", 400, "gzip"),
        (zlib.compress(b"{}"), 400, "gzip"),
        (_packed(b"{}")[:-4], 400, "too early"),
        (_packed(b"{}") * 2, 400, "after the end"),
        (_packed(b"{}") + b"\0", 400, "after the end"),
        (_packed(b" " * (limits.REPORT_MAX + 1)), 413, "too large"),
        (b"x" * (limits.REPORT_GZIP_MAX + 1), 413, "too large"),
        (_packed(b"{}"), 422, "expected shape"),
        (_packed(b"\xff"), 422, "UTF-8"),
        (_packed(b'{"a":1,"a":2}'), 422, "twice"),
        (_packed(b'{"a":NaN}'), 422, "NaN"),
        (_packed(_deep(33)), 422, "nested"),
        (_packed(b"[" * 100_000), 422, "nested"),
    ],
)
async def test_a_bad_report_is_refused(rig: Any, body: bytes, expected: int, word: str) -> None:
    await rig.create()
    headers = {"Content-Encoding": "gzip"}
    status, answer, _ = await rig.call("PUT", PATH, token=rig.api.probe_token(1), data=body, headers=headers)
    assert status == expected, answer
    assert word in json.loads(answer)["message"] + str(json.loads(answer)["details"])
    assert (await rig.view())["reported"] == []
    assert (await rig.send_report(1))[0] == 201


async def test_a_report_must_be_gzip(rig: Any) -> None:
    await rig.create()
    assert (await rig.call("PUT", PATH, token=rig.api.probe_token(1), data=b"{}"))[0] == 415


async def test_a_body_that_announces_too_much_is_not_read(rig: Any) -> None:
    await rig.create()
    status, _, _ = await rig.call(
        "POST",
        f"/v1/runs/{UID}/attempts",
        token=rig.api.operator_token(),
        data=io.BytesIO(b"x" * (limits.STORE_BODY_MAX + 1)),
    )
    assert status == 413


async def test_a_slow_body_is_given_up(rig: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    await rig.create()
    monkeypatch.setattr(bodies.limits, "STORE_BODY_SECONDS", 0.05)
    never = asyncio.Event()

    async def trickle() -> Any:
        yield b"x"
        await never.wait()

    headers = {"Content-Encoding": "gzip"}
    status, answer, _ = await rig.call("PUT", PATH, token=rig.api.probe_token(1), data=trickle(), headers=headers)
    assert status == 408
    assert b"too slowly" in answer


async def test_more_bodies_than_places_are_asked_to_come_back(rig: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    await rig.create()
    monkeypatch.setattr(bodies.limits, "STORE_QUEUE_SECONDS", 0.05)
    gate = rig.server._runner.app[bodies_key(rig)]
    for _ in range(limits.STORE_BODIES_MAX):
        await gate._places.acquire()
    status, _, headers = await rig.send_report(1)
    assert status == 503
    assert int(headers["Retry-After"]) >= 1
    gate._places.release()
    assert (await rig.send_report(1))[0] == 201


def bodies_key(rig: Any) -> Any:
    from evidencerun.store.requests import BODIES

    return BODIES


async def test_a_silent_connection_is_dropped(rig: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from evidencerun.store import listening

    monkeypatch.setattr(listening.limits, "STORE_HEAD_SECONDS", 0.1)
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", rig.server.port, ssl=rig.client.context, server_hostname="localhost"
    )
    writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n")
    assert await reader.read() == b""
    writer.close()
    assert (await rig.call("GET", "/healthz"))[0] == 200


async def test_connections_beyond_the_limit_are_refused(rig: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from evidencerun.store import listening

    monkeypatch.setattr(listening.limits, "STORE_CONNECTIONS_MAX", 0)
    with pytest.raises(ConnectionError):
        await asyncio.open_connection("127.0.0.1", rig.server.port, ssl=rig.client.context, server_hostname="localhost")


async def stranger(rig: Any, says: bytes | None) -> asyncio.StreamWriter:
    """Connect without a handshake (None), or say something over TLS and wait for the answer, if there is one."""
    if says is None:
        return (await asyncio.open_connection("127.0.0.1", rig.server.port))[1]
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", rig.server.port, ssl=rig.client.context, server_hostname="localhost"
    )
    writer.write(says)
    if says.endswith(b"\r\n\r\n"):
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 ")
    return writer


@pytest.mark.parametrize(
    "says",
    [
        None,
        b"",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /v1/seal HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer stranger\r\n\r\n",
    ],
)
async def test_strangers_cannot_take_all_places(rig: Any, monkeypatch: pytest.MonkeyPatch, says: bytes | None) -> None:
    from evidencerun.store import listening

    monkeypatch.setattr(listening.limits, "STORE_CONNECTIONS_MAX", 5)
    held = [await stranger(rig, says) for _ in range(12)]
    async with asyncio.timeout(5):
        assert (await rig.call("GET", "/healthz"))[0] == 200
    assert len(rig.server._runner.server.connections) <= 5
    for writer in held:
        writer.close()


async def test_connections_that_shake_no_hands_are_counted(rig: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from evidencerun.store import listening

    monkeypatch.setattr(listening.limits, "STORE_CONNECTIONS_MAX", 5)
    pairs = [await asyncio.open_connection("127.0.0.1", rig.server.port) for _ in range(12)]
    async with asyncio.timeout(5):
        for reader, _ in pairs[:7]:
            assert await reader.read() == b""
    assert not any(reader.at_eof() for reader, _ in pairs[7:])
    for _, writer in pairs:
        writer.close()


async def test_who_has_a_token_keeps_the_connection(rig: Any) -> None:
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", rig.server.port, ssl=rig.client.context, server_hostname="localhost"
    )
    for _ in range(2):
        token = rig.api.operator_token().encode()
        writer.write(b"GET /v1/runs HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + token + b"\r\n\r\n")
        assert b" 200 " in await reader.readuntil(b"]}")
    writer.close()


async def test_a_reader_that_stands_still_loses_its_connection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending.limits, "STORE_SEND_SECONDS", 0.1)
    (tmp_path / "large").touch()
    os.truncate(tmp_path / "large", 256 * limits.MIB)
    ended: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()

    async def give(request: web.Request) -> web.StreamResponse:
        try:
            return await sending.send_file(request, tmp_path / "large", "application/gzip")
        except ConnectionError as fault:
            ended.set_result(fault)
            raise

    app = web.Application()
    app.router.add_get("/", give)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    _, writer = await asyncio.open_connection("127.0.0.1", runner.addresses[0][1], limit=1024)
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    async with asyncio.timeout(5):
        assert "takes nothing" in str(await ended)
    writer.close()
    await runner.cleanup()


async def test_an_unknown_path_is_a_status(rig: Any) -> None:
    for method, path in (("GET", "/"), ("POST", "/healthz"), ("GET", "/v2/runs")):
        status, body, _ = await rig.call(method, path)
        assert status in (404, 405)
        assert json.loads(body)["kind"] == "Status"


def test_inflation_stops_at_the_limit() -> None:
    bomb = gzip.compress(b"\0" * (64 * limits.MIB))
    with pytest.raises(RefusalError) as caught:
        inflate(bomb, what="it", limit=1000)
    assert caught.value.status == 413
