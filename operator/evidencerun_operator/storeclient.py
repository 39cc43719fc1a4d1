# SPDX-License-Identifier: Apache-2.0
"""The evidence store as the operator calls it: HTTPS with the store's own CA, a pod-bound token, bounded JSON.

Faults are `StoreError`: E3501 it cannot be reached, E3502 it did not answer in time, E3503 it does not accept our
identity, E3504 it does not know the run, E3505 it refuses because something else stands there already, E3506 it
refuses the request, E3507 it failed, E3508 its answer cannot be read, E3509 its CA is not published yet.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

import aiohttp
from pydantic import ValidationError

from evidencerun import __version__, limits
from evidencerun.errors import StoreError
from evidencerun.validation.plan import Plan
from evidencerun.validation.storeapi import AttemptRequest, RunView, SealRequest

T = TypeVar("T")
_SECONDS: Final = 25.0
"""`POST …/attempts` waits for the end of a log."""


class StoreClient:
    """A client of the store. `read_ca` returns the PEM text of its CA, or an empty text while there is none."""

    def __init__(self, url: str, *, token_file: str, read_ca: Callable[[], Awaitable[str]]) -> None:
        self._url = url.rstrip("/")
        self._token_file = Path(token_file)
        self._read_ca = read_ca
        self._session: aiohttp.ClientSession | None = None
        self._connecting = asyncio.Lock()
        self.ca = ""
        """The CA that is trusted now."""

    async def view(self, uid: str) -> RunView | None:
        """Return the store's view of a run, or None if it does not know it."""
        try:
            answer = await self._json("GET", f"/v1/runs/{uid}", limit=limits.STORE_BODY_MAX)
        except StoreError as error:
            if error.code == "E3504":
                return None
            raise
        return _parsed(lambda: RunView.model_validate(answer), "the view of a run")

    async def plan(self, uid: str) -> Plan | None:
        """Return the frozen plan, or None if the store has none."""
        try:
            data = await self._bytes("GET", f"/v1/runs/{uid}/plan", limit=limits.PLAN_MAX)
        except StoreError as error:
            if error.code == "E3504":
                return None
            raise
        return _parsed(lambda: Plan.model_validate_json(data), "the plan")

    async def put_plan(self, plan: Plan) -> None:
        """Offer a plan; the store keeps the first one of a run."""
        await self._bytes("PUT", f"/v1/runs/{plan.run.uid}", body=plan.to_bytes(), limit=limits.PLAN_MAX)

    async def record(self, uid: str, request: AttemptRequest) -> None:
        """Write news of an attempt into the ledger."""
        await self._post(f"/v1/runs/{uid}/attempts", request.model_dump(mode="json", by_alias=True, exclude_none=True))

    async def evaluate(self, uid: str, stragglers: Mapping[str, str]) -> None:
        """Merge and evaluate; the first result is kept."""
        await self._post(f"/v1/runs/{uid}/evaluate", {"stragglers": dict(stragglers)})

    async def seal(self, uid: str, request: SealRequest) -> None:
        """Assemble and queue for the sealer; the first request is kept."""
        await self._post(f"/v1/runs/{uid}/seal", request.model_dump(mode="json", by_alias=True))

    async def close_run(self, uid: str) -> None:
        """Say that a run is over."""
        await self._post(f"/v1/runs/{uid}/close", {})

    async def abandon(self, uid: str) -> None:
        """Forget a run that was deleted; one that is not known is no fault."""
        try:
            await self._bytes("DELETE", f"/v1/runs/{uid}", limit=limits.STORE_BODY_MAX)
        except StoreError as error:
            if error.code != "E3504":
                raise

    async def open_runs(self) -> list[str]:
        """Return the uids of the runs that are not closed."""
        answer = await self._json("GET", "/v1/runs?open", limit=limits.STORE_BODY_MAX)
        runs = answer.get("runs") if isinstance(answer, dict) else None
        return [str(run.get("uid") or "") for run in runs or () if isinstance(run, dict)]

    async def close(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _post(self, path: str, document: dict[str, Any]) -> None:
        await self._bytes("POST", path, body=json.dumps(document).encode(), limit=limits.STORE_BODY_MAX)

    async def _json(self, method: str, path: str, *, limit: int) -> Any:
        data = await self._bytes(method, path, limit=limit)
        return _parsed(partial(json.loads, data), "the answer")

    async def _bytes(self, method: str, path: str, *, limit: int, body: bytes | None = None) -> bytes:
        where = f"{method} {self._url}{path}"
        session = await self._connected()
        try:
            async with session.request(
                method, self._url + path, data=body, headers=self._headers(), allow_redirects=False
            ) as response:
                data = await _bounded(response, limit, where)
        except TimeoutError as exc:
            raise StoreError("E3502", "the evidence store did not answer in time", where=where) from exc
        except (aiohttp.ClientError, OSError) as exc:
            # A store that lost its volume comes back with another CA.
            await self._drop(session)
            raise StoreError("E3501", "the evidence store cannot be reached", where=where, why=str(exc)) from exc
        if response.status >= 300:
            raise _refusal(response.status, data, where)
        return data

    async def _drop(self, session: aiohttp.ClientSession) -> None:
        """Close a session that failed, unless another call has replaced it already."""
        if self._session is session:
            self._session = None
            await session.close()

    def _headers(self) -> dict[str, str]:
        try:
            token = self._token_file.read_text(encoding="ascii").strip()
        except (OSError, ValueError) as exc:
            raise StoreError("E3503", "the token for the evidence store cannot be read", why=str(exc)) from exc
        return {
            "Authorization": f"Bearer {token}",
            "Content-Type": "application/json",
            "User-Agent": f"evidencerun/{__version__}",
        }

    async def _connected(self) -> aiohttp.ClientSession:
        async with self._connecting:
            return self._session if self._session is not None else await self._connect()

    async def _connect(self) -> aiohttp.ClientSession:
        self.ca = await self._read_ca()
        if self._url.startswith("https://") and not self.ca:
            raise StoreError(
                "E3509", "the evidence store has not published its CA yet", where="ConfigMap evidence-public"
            )
        try:
            context: ssl.SSLContext | bool = ssl.create_default_context(cadata=self.ca) if self.ca else True
        except (ssl.SSLError, TypeError) as exc:  # TypeError: a text that is not ASCII
            raise StoreError("E3509", "the evidence store's CA cannot be read", why=str(exc)) from exc
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=context, limit=16),
            timeout=aiohttp.ClientTimeout(total=_SECONDS, sock_connect=5),
            trust_env=False,
        )
        return self._session


async def _bounded(response: aiohttp.ClientResponse, limit: int, where: str) -> bytes:
    pieces: list[bytes] = []
    size = 0
    async for piece in response.content.iter_any():
        size += len(piece)
        if size > limit:
            raise StoreError("E3508", f"the answer is longer than {limit} bytes", where=where)
        pieces.append(piece)
    return b"".join(pieces)


def _parsed(read: Callable[[], T], what: str) -> T:
    try:
        return read()
    except (ValidationError, ValueError, RecursionError) as exc:
        raise StoreError("E3508", f"{what} of the evidence store cannot be read", why=str(exc)[:300]) from exc


_CODES: Final = {401: "E3503", 403: "E3503", 404: "E3504", 409: "E3505", 408: "E3507", 429: "E3507"}


def _refusal(status: int, data: bytes, where: str) -> StoreError:
    code = "E3507" if status >= 500 else _CODES.get(status, "E3506")
    message = data[:2048].decode("utf-8", "replace")
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        document = None
    if isinstance(document, dict):
        causes = (document.get("details") or {}).get("causes") or []
        more = "; ".join(str(cause.get("message") or "") for cause in causes if isinstance(cause, dict))
        message = ": ".join(part for part in (str(document.get("message") or ""), more) if part)
    retryable = code in ("E3503", "E3507")
    return StoreError(code, f"the evidence store answers {status}", where=where, why=message, retryable=retryable)
