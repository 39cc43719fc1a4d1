# SPDX-License-Identifier: Apache-2.0
"""The port to the Kubernetes API: the calls we make, the kinds we make them on, and how they fail.

Objects go in and come out as plain dicts, because strict models of another server version would refuse what a newer
server sends. Every call ends within a time; every failure is a `ClusterError` with HTTP status, reason and one of
these codes:

* E3001 the API server cannot be reached (network, TLS); E3002 it did not answer in time
* E3003 401, our identity was not accepted; E3004 403, a right is missing (admission answers 403 too: that is E3007)
* E3005 404, no such object or kind; E3006 409, already there, changed meanwhile, or another uid
* E3007 400, 413, 415 or 422, the object was refused; E3008 429, asked to slow down
* E3009 5xx, the server failed; E3010 its answer cannot be read; E3011 no credentials were found

E3001, E3002, E3008, E3009 and E3010 are `retryable`; so is E3003, because tokens are rotated.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeVar

from evidencerun.errors import ClusterError

Object = dict[str, Any]
"""An API object, decoded from JSON."""
T = TypeVar("T")

FIELD_MANAGER: Final = "evidencerun-operator"
"""Owner of the fields that we apply; only the operator applies."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """A kind as the API server serves it: `group` is empty for the core group."""

    group: str
    version: str
    plural: str
    kind: str

    @property
    def api_version(self) -> str:
        """The value of an object's `apiVersion`."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, *, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """Return the URL path of a collection, an object or a subresource.

        Raises `ValueError` for a part that is no path segment: a name from outside must never climb out of its place.
        """
        parts = ["apis", self.group, self.version] if self.group else ["api", self.version]
        if namespace:
            parts += ["namespaces", namespace]
        parts.append(self.plural)
        if name:
            parts.append(name)
        if subresource:
            parts += subresource.split("/")
        for part in parts:
            if not part or part in (".", "..") or any(c in part for c in "/?#%\\") or not part.isprintable():
                raise ValueError(f"{part!r} is no segment of an API path")
        return "/" + "/".join(parts)


NODES: Final = Resource(group="", version="v1", plural="nodes", kind="Node")
PODS: Final = Resource(group="", version="v1", plural="pods", kind="Pod")
CONFIG_MAPS: Final = Resource(group="", version="v1", plural="configmaps", kind="ConfigMap")
CORE_EVENTS: Final = Resource(group="", version="v1", plural="events", kind="Event")
EVENTS: Final = Resource(group="events.k8s.io", version="v1", plural="events", kind="Event")
DAEMON_SETS: Final = Resource(group="apps", version="v1", plural="daemonsets", kind="DaemonSet")
JOBS: Final = Resource(group="batch", version="v1", plural="jobs", kind="Job")
RUNTIME_CLASSES: Final = Resource(group="node.k8s.io", version="v1", plural="runtimeclasses", kind="RuntimeClass")
TOKEN_REVIEWS: Final = Resource(group="authentication.k8s.io", version="v1", plural="tokenreviews", kind="TokenReview")
EVIDENCE_RUNS: Final = Resource(group="evidencerun.dev", version="v1alpha1", plural="evidenceruns", kind="EvidenceRun")
EVIDENCE_POLICIES: Final = Resource(
    group="evidencerun.dev", version="v1alpha1", plural="evidencepolicies", kind="EvidencePolicy"
)

_FAULTS: Final[Mapping[int, tuple[str, str, bool]]] = {
    401: ("E3003", "the API server does not accept our identity", True),
    403: ("E3004", "the API server refuses: a right is missing", False),
    404: ("E3005", "no such object", False),
    409: ("E3006", "the object is there already or was changed meanwhile", False),
    429: ("E3008", "the API server asks to slow down", True),
}

_NO_RIGHT: Final = " cannot "
"""In every denial of a right: `User "…" cannot create resource …`. Quotas, policies and webhooks word theirs otherwise,
with the same status 403 and the same reason."""


def http_fault(*, status: int, reason: str, message: str, where: str) -> ClusterError:
    """Return the error for an HTTP answer of 400 or more; `message` is the API's own sentence and is kept."""
    if status >= 500:
        code, what, retryable = "E3009", "the API server failed", True
    else:
        refused = ("E3007", "the API server refuses the object", False)
        by_admission = status == 403 and not where.startswith("GET ") and _NO_RIGHT not in message
        code, what, retryable = refused if by_admission else _FAULTS.get(status, refused)
    return ClusterError(code, what, where=where, why=message[:2048], retryable=retryable, status=status, reason=reason)


class ClusterPort(Protocol):
    """The Kubernetes API, asynchronously. All calls raise `ClusterError` and nothing else on a failure.

    `within` is the longest time in seconds from the first byte sent to the last one read.
    """

    async def get(self, resource: Resource, name: str, *, namespace: str = "", within: float = 20) -> Object:
        """Return one object."""

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
        """Return `project(object)` for every object, read in chunks of 500; `within` seconds are for one chunk.

        `project` is called as soon as a chunk is decoded, so that no more than one chunk is held in full. List items
        carry no apiVersion and kind. A list that expires half-way is begun anew, once.
        """

    async def create(self, resource: Resource, body: Object, *, namespace: str = "", within: float = 20) -> Object:
        """Create an object; unknown and duplicate fields are refused (`fieldValidation=Strict`)."""

    async def apply_status(self, resource: Resource, body: Object, *, within: float = 20) -> Object:
        """Apply the status subresource server-side as `FIELD_MANAGER`; a stale `metadata.resourceVersion` is a 409."""

    async def merge_patch(
        self, resource: Resource, name: str, patch: Object, *, namespace: str = "", within: float = 20
    ) -> Object:
        """Send a JSON merge patch."""

    async def delete(
        self, resource: Resource, name: str, *, namespace: str = "", uid: str = "", within: float = 20
    ) -> bool:
        """Delete an object; with `uid` only that very one (409 otherwise). False if it was not there.

        Its dependents go in the background.
        """

    async def delete_collection(
        self, resource: Resource, *, namespace: str, label_selector: str, force: bool = False, within: float = 70
    ) -> None:
        """Delete everything that the selector, which must not be empty, matches; dependents in the background.

        The server stops after a minute; repeat until a list is empty. `force` waits for no kubelet (no grace period).
        """

    async def token_review(self, token: str, *, audiences: Sequence[str], within: float = 10) -> Object:
        """Return the TokenReview's status. `authenticated` may be absent; check `audiences` in the answer too."""

    def pod_log(
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
        """Yield the log in pieces as they come; `idle_timeout` seconds without a byte end it with E3002 (0: never)."""

    async def server_version(self, *, within: float = 10) -> Object:
        """Return `/version`."""

    async def openapi(self, resource: Resource, *, within: float = 20) -> Object:
        """Return the OpenAPI v3 document of the resource's group and version; 404 if the group is not served."""

    async def create_event(self, event: Object, *, namespace: str, within: float = 10) -> bool:
        """Create an Event of events.k8s.io/v1; False if one of that name exists already."""

    async def close(self) -> None:
        """Close all connections."""
