# SPDX-License-Identifier: Apache-2.0
"""A registry that answers from a script and remembers what it was asked, for the client's unit tests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import httpx

from evidencerun.canonical import sha256_prefixed
from evidencerun.oci.credentials import Credentials
from evidencerun.oci.reference import Repository
from evidencerun.oci.registry import Descriptor, RepositoryClient
from evidencerun.oci.transport import RegistryAccess

HOST = "registry.example.com"
USER = Credentials(username="user", password="secret")
DATA = b"some bytes"
BLOB = Descriptor(media_type="application/octet-stream", digest=sha256_prefixed(DATA), size=len(DATA))
Handler = Callable[[httpx.Request], httpx.Response]


@dataclass
class Script:
    """A registry: `handler` answers, `seen` remembers, `slept` are the pauses."""

    handler: Handler
    seen: list[httpx.Request] = field(default_factory=list)
    slept: list[float] = field(default_factory=list)

    def client(self, credentials: Credentials = USER, *, plain_http: bool = False) -> RepositoryClient:
        def answer(request: httpx.Request) -> httpx.Response:
            request.read()
            self.seen.append(request)
            return self.handler(request)

        access = RegistryAccess(
            registry=HOST,
            credentials=credentials,
            plain_http=plain_http,
            sleep=self.slept.append,
            uniform=lambda low, high: high,
        )
        repository = Repository(registry=HOST, path="team/evidence")
        return RepositoryClient(repository, access, transport=httpx.MockTransport(answer))


def replies(*answers: httpx.Response | Exception) -> Script:
    left = list(answers)

    def handler(request: httpx.Request) -> httpx.Response:
        answer = left.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    return Script(handler)


def challenge(text: str) -> httpx.Response:
    return httpx.Response(401, headers={"WWW-Authenticate": text})
