# SPDX-License-Identifier: Apache-2.0
"""Who is calling: pod-bound projected tokens, judged by the API server's TokenReview (docs/architecture.md).

A token is never stored, logged or compared; answers are remembered for two minutes under its SHA-256 and audience.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import json
import re
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from evidencerun import limits
from evidencerun.errors import ClusterError
from evidencerun.kube.base import ClusterPort
from evidencerun.store.refusals import RefusalError, forbidden
from evidencerun.validation.storeapi import check_audience

_EXTRA: Final = "authentication.kubernetes.io/"
_ACCOUNT: Final = re.compile(r"system:serviceaccount:([a-z0-9-]{1,63}):([a-z0-9.-]{1,253})")
_ATTEMPT: Final = re.compile(r"([a-z0-9-]{1,63})/([1-9][0-9]{0,3})")
_REVIEWS_MAX: Final = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """A pod, as the API server vouches for it. `node_*` and `pod_*` are never empty."""

    namespace: str
    account: str
    pod_name: str
    pod_uid: str
    node_name: str
    node_uid: str


def bearer_token(header: str) -> str:
    """Return the token of an Authorization header; raises `RefusalError` 401."""
    scheme, _, token = header.partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token or len(token) > limits.TOKEN_MAX:
        fix = "send Authorization: Bearer with the pod's projected token"
        raise RefusalError(401, "E4511", "no bearer token was sent", fix=fix)
    return token


class Identities:
    """Reviews tokens; `clock` returns seconds that only grow."""

    def __init__(self, cluster: ClusterPort, clock: Callable[[], float]) -> None:
        self._cluster = cluster
        self._clock = clock
        self._known: OrderedDict[tuple[bytes, str], tuple[float, Caller]] = OrderedDict()
        self._slots = asyncio.Semaphore(_REVIEWS_MAX)

    async def caller(self, token: str, *, audience: str) -> Caller:
        """Return whose token it is, for exactly this audience.

        Raises `RefusalError` 401 (not accepted), 403 (not bound to a pod on a node), 503 (the API does not answer).
        """
        key = (hashlib.sha256(token.encode()).digest(), audience)
        known = self._known.get(key)
        if known is not None and known[0] > self._clock():
            return known[1]
        async with self._slots:
            started = self._clock()
            status = await self._review(token, audience)
        caller = _caller(status, audience)
        self._known[key] = (started + limits.IDENTITY_CACHE_SECONDS, caller)
        self._known.move_to_end(key)
        while len(self._known) > limits.IDENTITY_CACHE_MAX:
            self._known.popitem(last=False)
        return caller

    async def _review(self, token: str, audience: str) -> Mapping[str, Any]:
        try:
            return await self._cluster.token_review(token, audiences=[audience])
        except ClusterError as fault:
            why = f"{fault.what}: {fault.why}" if fault.why else fault.what
            what = "the API server cannot be asked about the token"
            raise RefusalError(503, fault.code, what, why=why, retry_after=2) from fault


def _caller(status: Mapping[str, Any], audience: str) -> Caller:
    if not status.get("authenticated") or audience not in (status.get("audiences") or ()):
        why = str(status.get("error") or f"it is not a token for {audience}")[:300]
        raise RefusalError(401, "E4511", "the token was not accepted", why=why)
    user = status.get("user") or {}
    account = _ACCOUNT.fullmatch(str(user.get("username") or ""))
    if account is None:
        raise forbidden("the caller is no ServiceAccount", f"it is {str(user.get('username'))[:100]!r}")
    extra = user.get("extra") or {}
    bound = {name: _single(extra.get(_EXTRA + name)) for name in ("pod-name", "pod-uid", "node-name", "node-uid")}
    lacking = [name for name, value in bound.items() if not value]
    if lacking:
        why = f"the review names no {', '.join(lacking)}; a token of a running pod on Kubernetes 1.32 or newer does"
        raise forbidden("the token is not bound to a pod on a node", why)
    return Caller(
        namespace=account[1],
        account=account[2],
        pod_name=bound["pod-name"],
        pod_uid=bound["pod-uid"],
        node_name=bound["node-name"],
        node_uid=bound["node-uid"],
    )


def _single(values: object) -> str:
    if isinstance(values, list) and len(values) == 1 and isinstance(values[0], str):
        return values[0]
    return ""


def require_account(caller: Caller, *, namespace: str, accounts: Sequence[str]) -> None:
    """Refuse (403) anybody but these ServiceAccounts of this namespace."""
    if caller.namespace != namespace or caller.account not in accounts:
        found = f"{caller.namespace}/{caller.account}"
        raise forbidden(f"the ServiceAccount {found} may not do this", f"{namespace}/{' or '.join(accounts)} may")


def claimed_attempt(token: str, run_uid: str) -> tuple[str, int] | None:
    """Return check and attempt for which a token says it was made, to know which audience to ask the API server for.

    Nothing is believed here: the review of exactly that audience follows. None for any other text.
    """
    parts = token.split(".")
    if len(parts) != 3:
        return None
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (ValueError, binascii.Error, RecursionError):
        return None
    audiences = claims.get("aud") if isinstance(claims, dict) else None
    prefix = check_audience(run_uid, "x", 1).removesuffix("x/1")
    for audience in audiences if isinstance(audiences, list) else [audiences]:
        if isinstance(audience, str) and audience.startswith(prefix):
            found = _ATTEMPT.fullmatch(audience.removeprefix(prefix))
            if found:
                return found[1], int(found[2])
    return None
