# SPDX-License-Identifier: Apache-2.0
"""`ClusterPort` on `kubernetes.aio`: raw calls only, since typed bulk lists cost ten times the memory."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode

import aiohttp
from kubernetes.aio.client.api_client import ApiClient
from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.config import ConfigException, load_incluster_config, load_kube_config

from evidencerun import __version__, limits
from evidencerun.errors import ClusterError
from evidencerun.kube.base import (
    EVENTS,
    FIELD_MANAGER,
    PODS,
    TOKEN_REVIEWS,
    Object,
    Propagation,
    Resource,
    T,
    http_fault,
)

_JSON: Final = "application/json"
_MERGE: Final = "application/merge-patch+json"
_APPLY: Final = "application/apply-patch+yaml"
_CHUNK: Final = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """Where the API server is and who we are, for programs that open connections of their own. Paths may be empty."""

    server: str
    ca_path: str
    token: str
    certificate_path: str
    key_path: str
    insecure: bool


async def _configuration(kubeconfig: str) -> Configuration:
    configuration = Configuration()
    try:
        if kubeconfig:
            await load_kube_config(config_file=kubeconfig, client_configuration=configuration, persist_config=False)
        else:
            load_incluster_config(configuration)
    except (ConfigException, OSError, ValueError) as exc:
        raise ClusterError(
            "E3011",
            "no credentials for the Kubernetes API",
            where=kubeconfig or "the pod's ServiceAccount",
            why=str(exc),
            fix="run inside a pod with a ServiceAccount, or name a kubeconfig",
            retryable=False,
        ) from exc
    return configuration


async def connect(*, kubeconfig: str = "") -> Cluster:
    """Return a connected port: from `kubeconfig` if given, else from the pod's ServiceAccount.

    The ServiceAccount's token is read anew every minute. Raises `ClusterError` E3011 if there are no credentials.
    """
    configuration = await _configuration(kubeconfig)
    # Proxy variables in a pod's environment must not hijack traffic inside the cluster.
    configuration.client_session_kwargs = {"trust_env": False}
    return Cluster(ApiClient(configuration))


async def credentials(*, kubeconfig: str = "") -> Credentials:
    """Return what `connect` would use, read now. Raises `ClusterError` E3011."""
    found = await _configuration(kubeconfig)
    bearer = str(found.api_key.get("BearerToken") or "")
    return Credentials(
        server=str(found.host),
        ca_path=str(found.ssl_ca_cert or ""),
        token=bearer.split(" ", 1)[-1].strip(),
        certificate_path=str(found.cert_file or ""),
        key_path=str(found.key_file or ""),
        insecure=not found.verify_ssl,
    )


class Cluster:
    """A connection to one API server; see `ClusterPort` for the meaning of each call."""

    def __init__(self, client: ApiClient) -> None:
        self._client = client
        self._client.user_agent = f"evidencerun/{__version__}"

    async def get(self, resource: Resource, name: str, *, namespace: str = "", within: float = 20) -> Object:
        """Return one object."""
        return await self._json("GET", resource.path(namespace=namespace, name=name), within=within)

    async def list_all(
        self,
        resource: Resource,
        *,
        project: Callable[[Object], T],
        namespace: str = "",
        label_selector: str = "",
        field_selector: str = "",
        within: float = 30,
    ) -> list[T]:
        """Return the projection of every object, read in chunks."""
        query = {"labelSelector": label_selector, "fieldSelector": field_selector}
        path = resource.path(namespace=namespace)
        try:
            return await self._chunks(path, query, project, within)
        except ClusterError as error:
            if error.status != 410:
                raise
        return await self._chunks(path, query, project, within)

    async def _chunks(
        self, path: str, query: Mapping[str, str], project: Callable[[Object], T], within: float
    ) -> list[T]:
        found: list[T] = []
        token = ""
        while True:
            page = await self._json(
                "GET", path, query={**query, "limit": str(_CHUNK), "continue": token}, within=within
            )
            found.extend(project(item) for item in page.get("items") or ())
            token = (page.get("metadata") or {}).get("continue") or ""
            if not token:
                return found

    async def create(self, resource: Resource, body: Object, *, namespace: str = "", within: float = 20) -> Object:
        """Create an object, strictly."""
        query = {"fieldManager": FIELD_MANAGER, "fieldValidation": "Strict"}
        path = resource.path(namespace=namespace)
        return await self._json("POST", path, query=query, body=body, within=within)

    async def apply_status(self, resource: Resource, body: Object, *, within: float = 20) -> Object:
        """Apply the status subresource; a stale resourceVersion is a 409."""
        meta = body["metadata"]
        path = resource.path(namespace=meta.get("namespace", ""), name=meta["name"], subresource="status")
        query = {"fieldManager": FIELD_MANAGER, "fieldValidation": "Strict", "force": "true"}
        return await self._json("PATCH", path, query=query, body=body, content=_APPLY, within=within)

    async def merge_patch(
        self, resource: Resource, name: str, patch: Object, *, namespace: str = "", within: float = 20
    ) -> Object:
        """Send a JSON merge patch."""
        path = resource.path(namespace=namespace, name=name)
        query = {"fieldManager": FIELD_MANAGER, "fieldValidation": "Strict"}
        return await self._json("PATCH", path, query=query, body=patch, content=_MERGE, within=within)

    async def delete(
        self,
        resource: Resource,
        name: str,
        *,
        namespace: str = "",
        uid: str = "",
        propagation: Propagation = Propagation.BACKGROUND,
        within: float = 20,
    ) -> bool:
        """Delete an object; False if it was not there."""
        options = _delete_options(propagation)
        if uid:
            options["preconditions"] = {"uid": uid}
        path = resource.path(namespace=namespace, name=name)
        try:
            await self._json("DELETE", path, body=options, within=within)
        except ClusterError as error:
            if error.status == 404:
                return False
            raise
        return True

    async def delete_collection(
        self,
        resource: Resource,
        *,
        namespace: str,
        label_selector: str,
        force: bool = False,
        within: float = 70,
    ) -> None:
        """Delete what the selector matches."""
        if not label_selector:
            raise ValueError("delete_collection without a selector would delete the whole namespace's objects")
        options = _delete_options(Propagation.BACKGROUND)
        if force:
            options["gracePeriodSeconds"] = 0
        path = resource.path(namespace=namespace)
        await self._json("DELETE", path, query={"labelSelector": label_selector}, body=options, within=within)

    async def token_review(self, token: str, *, audiences: Sequence[str], within: float = 10) -> Object:
        """Return the TokenReview's status."""
        body: Object = {
            "apiVersion": TOKEN_REVIEWS.api_version,
            "kind": TOKEN_REVIEWS.kind,
            "spec": {"token": token, "audiences": list(audiences)},
        }
        answer = await self._json("POST", TOKEN_REVIEWS.path(), body=body, within=within)
        status = answer.get("status")
        return status if isinstance(status, dict) else {}

    async def pod_log(
        self,
        name: str,
        *,
        namespace: str,
        container: str,
        follow: bool = False,
        timestamps: bool = False,
        since_time: str = "",
        limit_bytes: int = 0,
        idle_timeout: float = 0,
    ) -> AsyncIterator[bytes]:
        """Yield the log in pieces as they come."""
        path = PODS.path(namespace=namespace, name=name, subresource="log")
        query = {
            "container": container,
            "follow": "true" if follow else "",
            "timestamps": "true" if timestamps else "",
            "sinceTime": since_time,
            "limitBytes": str(limit_bytes) if limit_bytes else "",
        }
        patience = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=idle_timeout or None)
        async with self._answer("GET", path, query=query, patience=patience) as response:
            async for piece in response.content.iter_any():
                yield piece

    async def server_version(self, *, within: float = 10) -> Object:
        """Return `/version`."""
        return await self._json("GET", "/version", within=within)

    async def openapi(self, resource: Resource, *, within: float = 20) -> Object:
        """Return the OpenAPI v3 document of a group and version."""
        return await self._json("GET", f"/openapi/v3/apis/{resource.api_version}", within=within)

    async def create_event(self, event: Object, *, namespace: str, within: float = 10) -> bool:
        """Create an Event of events.k8s.io/v1; False if it exists."""
        try:
            await self.create(EVENTS, event, namespace=namespace, within=within)
        except ClusterError as error:
            if error.status == 409:
                return False
            raise
        return True

    async def close(self) -> None:
        """Close all connections."""
        await self._client.close()

    async def _json(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Object | None = None,
        content: str = _JSON,
        within: float,
    ) -> Object:
        patience = aiohttp.ClientTimeout(total=within)
        async with self._answer(method, path, query=query, body=body, content=content, patience=patience) as response:
            data = await _bounded(response, limits.API_ANSWER_MAX, f"{method} {path}")
        return _decode(data, f"{method} {path}")

    @asynccontextmanager
    async def _answer(
        self,
        method: str,
        path: str,
        *,
        patience: aiohttp.ClientTimeout,
        query: Mapping[str, str] | None = None,
        body: Object | None = None,
        content: str = _JSON,
    ) -> AsyncGenerator[aiohttp.ClientResponse, None]:
        """Send one request and yield an answer below 400; translate every failure, of the body's reading too."""
        where = f"{method} {path}"
        try:
            response = await self._send(method, path, query=query, body=body, content=content, patience=patience)
            try:
                if response.status >= 400:
                    raise await _refusal(response, where)
                yield response
            finally:
                # A body that was not read to its end must not keep its connection.
                if response.content.at_eof():
                    response.release()
                else:
                    response.close()
        except TimeoutError as exc:
            raise ClusterError("E3002", "the API server did not answer in time", where=where) from exc
        except (aiohttp.ClientError, OSError, asyncio.IncompleteReadError) as exc:
            raise ClusterError("E3001", "the API server cannot be reached", where=where, why=str(exc)) from exc
        except ConfigException as exc:
            raise ClusterError("E3011", "the token cannot be read", where=where, why=str(exc)) from exc

    async def _send(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None,
        body: Object | None,
        content: str,
        patience: aiohttp.ClientTimeout,
    ) -> aiohttp.ClientResponse:
        given = {key: value for key, value in (query or {}).items() if value}
        target = f"{path}?{urlencode(given)}" if given else path
        accept = {"Accept": f"{_JSON}, */*", "Content-Type": content}
        prepared = await self._client.param_serialize(
            method, target, header_params=accept, auth_settings=["BearerToken"]
        )
        answer: Any = await self._client.call_api(
            method, prepared[1], prepared[2], body=body, _request_timeout=patience
        )
        response: aiohttp.ClientResponse = answer.response
        return response


def _delete_options(propagation: Propagation) -> Object:
    return {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": propagation.value}


async def _bounded(response: aiohttp.ClientResponse, limit: int, where: str) -> bytes:
    pieces: list[bytes] = []
    size = 0
    async for piece in response.content.iter_any():
        size += len(piece)
        if size > limit:
            raise ClusterError("E3010", f"the answer is longer than {limit} bytes", where=where, retryable=False)
        pieces.append(piece)
    return b"".join(pieces)


def _decode(data: bytes, where: str) -> Object:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as exc:
        raise ClusterError("E3010", "the answer is no JSON", where=where, why=str(exc)[:200]) from exc
    if not isinstance(value, dict):
        raise ClusterError("E3010", "the answer is no JSON object", where=where)
    return value


async def _refusal(response: aiohttp.ClientResponse, where: str) -> ClusterError:
    text = (await response.content.read(limits.API_ERROR_MAX)).decode("utf-8", "replace")
    reason, message = response.reason or "", text
    try:
        status = json.loads(text)
    except (ValueError, RecursionError):
        status = None
    if isinstance(status, dict):
        reason = str(status.get("reason") or reason)
        message = str(status.get("message") or text)
    return http_fault(status=response.status, reason=reason, message=message, where=where)


def kubeconfig_from_environment() -> str:
    """Return the kubeconfig that `KUBECONFIG` names; empty in a pod."""
    return os.environ.get("KUBECONFIG", "")
