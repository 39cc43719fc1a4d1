# SPDX-License-Identifier: Apache-2.0
"""`ClusterPort` on `kubernetes.aio`: raw calls only, since typed bulk lists cost ten times the memory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Final

import aiohttp
from kubernetes.aio.client.api_client import ApiClient

from evidencerun.errors import ClusterError
from evidencerun.kube.aio_requests import Call, Content, Requests
from evidencerun.kube.base import EVENTS, FIELD_MANAGER, PODS, TOKEN_REVIEWS, Object, Resource, T
from evidencerun.kube.login import configuration

_CHUNK: Final = 500
_STRICT: Final = {"fieldManager": FIELD_MANAGER, "fieldValidation": "Strict"}


async def connect(*, kubeconfig: str = "") -> Cluster:
    """Return a connected port: from `kubeconfig` if given, else from the pod's ServiceAccount.

    The ServiceAccount's token is read anew every minute. Raises `ClusterError` E3011 if there are no credentials.
    """
    return Cluster(ApiClient(await configuration(kubeconfig)))


class Cluster:
    """A connection to one API server; see `ClusterPort` for the meaning of each call."""

    def __init__(self, client: ApiClient) -> None:
        self._requests = Requests(client)

    async def get(self, resource: Resource, name: str, *, namespace: str = "", within: float = 20) -> Object:
        """Return one object."""
        call = Call(method="GET", path=resource.path(namespace=namespace, name=name))
        return await self._requests.json(call, within=within)

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
        query = {"labelSelector": label_selector, "fieldSelector": field_selector, "limit": str(_CHUNK)}
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
            call = Call(method="GET", path=path, query={**query, "continue": token})
            page = await self._requests.json(call, within=within)
            found.extend(project(item) for item in page.get("items") or ())
            token = (page.get("metadata") or {}).get("continue") or ""
            if not token:
                return found

    async def create(self, resource: Resource, body: Object, *, namespace: str = "", within: float = 20) -> Object:
        """Create an object, strictly."""
        call = Call(method="POST", path=resource.path(namespace=namespace), query=_STRICT, body=body)
        return await self._requests.json(call, within=within)

    async def apply_status(self, resource: Resource, body: Object, *, within: float = 20) -> Object:
        """Apply the status subresource; a stale resourceVersion is a 409."""
        meta = body["metadata"]
        path = resource.path(namespace=meta.get("namespace", ""), name=meta["name"], subresource="status")
        query = {**_STRICT, "force": "true"}
        call = Call(method="PATCH", path=path, query=query, body=body, content=Content.APPLY_PATCH)
        return await self._requests.json(call, within=within)

    async def merge_patch(
        self, resource: Resource, name: str, patch: Object, *, namespace: str = "", within: float = 20
    ) -> Object:
        """Send a JSON merge patch."""
        path = resource.path(namespace=namespace, name=name)
        call = Call(method="PATCH", path=path, query=_STRICT, body=patch, content=Content.MERGE_PATCH)
        return await self._requests.json(call, within=within)

    async def delete(
        self, resource: Resource, name: str, *, namespace: str = "", uid: str = "", within: float = 20
    ) -> bool:
        """Delete an object; False if it was not there."""
        options = _delete_options()
        if uid:
            options["preconditions"] = {"uid": uid}
        call = Call(method="DELETE", path=resource.path(namespace=namespace, name=name), body=options)
        try:
            await self._requests.json(call, within=within)
        except ClusterError as error:
            if error.status == 404:
                return False
            raise
        return True

    async def delete_collection(
        self, resource: Resource, *, namespace: str, label_selector: str, force: bool = False, within: float = 70
    ) -> None:
        """Delete what the selector matches."""
        if not label_selector:
            raise ValueError("delete_collection without a selector would delete the whole namespace's objects")
        options = _delete_options()
        if force:
            options["gracePeriodSeconds"] = 0
        path, query = resource.path(namespace=namespace), {"labelSelector": label_selector}
        await self._requests.json(Call(method="DELETE", path=path, query=query, body=options), within=within)

    async def token_review(self, token: str, *, audiences: Sequence[str], within: float = 10) -> Object:
        """Return the TokenReview's status."""
        body: Object = {
            "apiVersion": TOKEN_REVIEWS.api_version,
            "kind": TOKEN_REVIEWS.kind,
            "spec": {"token": token, "audiences": list(audiences)},
        }
        answer = await self._requests.json(Call(method="POST", path=TOKEN_REVIEWS.path(), body=body), within=within)
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
        query = {
            "container": container,
            "follow": "true" if follow else "",
            "timestamps": "true" if timestamps else "",
            "sinceTime": since_time,
            "limitBytes": str(limit_bytes) if limit_bytes else "",
        }
        call = Call(method="GET", path=PODS.path(namespace=namespace, name=name, subresource="log"), query=query)
        patience = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=idle_timeout or None)
        async with self._requests.answer(call, patience) as response:
            async for piece in response.content.iter_any():
                yield piece

    async def server_version(self, *, within: float = 10) -> Object:
        """Return `/version`."""
        return await self._requests.json(Call(method="GET", path="/version"), within=within)

    async def openapi(self, resource: Resource, *, within: float = 20) -> Object:
        """Return the OpenAPI v3 document of a group and version."""
        call = Call(method="GET", path=f"/openapi/v3/apis/{resource.api_version}")
        return await self._requests.json(call, within=within)

    async def create_event(self, event: Object, *, namespace: str, within: float = 10) -> bool:
        """Create an Event; False if one of that name exists already."""
        try:
            await self.create(EVENTS, event, namespace=namespace, within=within)
        except ClusterError as error:
            if error.status == 409:
                return False
            raise
        return True

    async def close(self) -> None:
        """Close all connections."""
        await self._requests.close()


def _delete_options() -> Object:
    return {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background"}
