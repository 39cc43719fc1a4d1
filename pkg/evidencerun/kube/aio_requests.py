# SPDX-License-Identifier: Apache-2.0
"""Single requests on `kubernetes.aio`: raw calls, bounded answers, every failure as a `ClusterError`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any
from urllib.parse import urlencode

import aiohttp
from kubernetes.aio.client.api_client import ApiClient
from kubernetes.aio.config import ConfigException

from evidencerun import __version__, limits
from evidencerun.errors import ClusterError
from evidencerun.kube.answers import object_in, refusal
from evidencerun.kube.base import Object


class Content(StrEnum):
    """What a body is to the API server."""

    JSON = "application/json"
    MERGE_PATCH = "application/merge-patch+json"
    APPLY_PATCH = "application/apply-patch+yaml"


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request. Parameters of the query whose value is empty are left out; `body` None sends none."""

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    body: Object | None = None
    content: Content = Content.JSON

    @property
    def where(self) -> str:
        """The call in words, for errors."""
        return f"{self.method} {self.path}"


class Requests:
    """Sends calls to one API server."""

    def __init__(self, client: ApiClient) -> None:
        self._client = client
        self._client.user_agent = f"evidencerun/{__version__}"

    async def close(self) -> None:
        """Close all connections."""
        await self._client.close()

    async def json(self, call: Call, *, within: float) -> Object:
        """Return the answer's object; the whole call takes `within` seconds at most."""
        async with self.answer(call, aiohttp.ClientTimeout(total=within)) as response:
            data = await _bounded(response, limits.API_ANSWER_MAX, call.where)
        return object_in(data, call.where)

    @asynccontextmanager
    async def answer(self, call: Call, patience: aiohttp.ClientTimeout) -> AsyncGenerator[aiohttp.ClientResponse, None]:
        """Send one call and yield an answer below 400; translate every failure, of the body's reading too."""
        try:
            # A body that is not read to its end takes its connection with it when the block ends.
            async with await self._send(call, patience) as response:
                if response.status >= 400:
                    data = await _start(response, limits.API_ERROR_MAX)
                    raise refusal(response.status, data, call.where, phrase=response.reason or "")
                yield response
        except TimeoutError as exc:
            raise ClusterError("E3002", "the API server did not answer in time", where=call.where) from exc
        except (aiohttp.ClientError, OSError, asyncio.IncompleteReadError) as exc:
            raise ClusterError("E3001", "the API server cannot be reached", where=call.where, why=str(exc)) from exc
        except ConfigException as exc:
            raise ClusterError("E3011", "the token cannot be read", where=call.where, why=str(exc)) from exc

    async def _send(self, call: Call, patience: aiohttp.ClientTimeout) -> aiohttp.ClientResponse:
        given = {key: value for key, value in call.query.items() if value}
        target = f"{call.path}?{urlencode(given)}" if given else call.path
        accept = {"Accept": f"{Content.JSON}, */*", "Content-Type": call.content.value}
        _, url, headers, *_ = await self._client.param_serialize(
            call.method, target, header_params=accept, auth_settings=["BearerToken"]
        )
        answer: Any = await self._client.call_api(call.method, url, headers, body=call.body, _request_timeout=patience)
        response: aiohttp.ClientResponse = answer.response
        return response


async def _start(response: aiohttp.ClientResponse, limit: int) -> bytes:
    data = b""
    async for piece in response.content.iter_any():
        data += piece
        if len(data) >= limit:
            break
    return data[:limit]


async def _bounded(response: aiohttp.ClientResponse, limit: int, where: str) -> bytes:
    pieces: list[bytes] = []
    size = 0
    async for piece in response.content.iter_any():
        size += len(piece)
        if size > limit:
            raise ClusterError("E3010", f"the answer is longer than {limit} bytes", where=where, retryable=False)
        pieces.append(piece)
    return b"".join(pieces)
