# SPDX-License-Identifier: Apache-2.0
"""Credentials from a docker configuration, the content of a Secret of type kubernetes.io/dockerconfigjson."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from evidencerun import limits
from evidencerun.canonical import parse_json
from evidencerun.errors import InputError
from evidencerun.oci.reference import Repository


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """User and password, or an identity token (a refresh token of an OAuth2 registry). Never shown."""

    username: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)


ANONYMOUS = Credentials()


def credentials_for(config: bytes, repository: Repository) -> Credentials | None:
    """Return the credentials for a repository, None if the configuration has none for it.

    Keys may be a host, a host with scheme, or host and a path prefix; the longest match wins, as in Kubernetes.
    Credential helpers are programs and are never run.

    Raises:
        InputError: E7402, the configuration is no such document.

    """
    document = _document(config)
    auths = document.get("auths") if isinstance(document, dict) else None
    if not isinstance(auths, dict):
        raise InputError("E7402", ".dockerconfigjson has no member auths", fix="make it with kubectl create secret")
    name = str(repository)
    matches = [(key, entry) for key, entry in auths.items() if _covers(_plain_key(str(key)), name)]
    if not matches:
        return None
    key, entry = max(matches, key=lambda item: len(_plain_key(str(item[0]))))
    return _read(str(key), entry if isinstance(entry, dict) else {})


def _document(config: bytes) -> object:
    try:
        return parse_json(config, what=".dockerconfigjson", max_bytes=limits.REGISTRY_CONFIG_MAX)
    except InputError as fault:
        # Only the place is passed on: a cause could repeat a piece of a password.
        raise InputError("E7402", ".dockerconfigjson is no valid JSON", where=fault.where) from None


def _plain_key(key: str) -> str:
    text = key.removeprefix("https://").removeprefix("http://").rstrip("/")
    for suffix in ("/v1", "/v2"):
        text = text.removesuffix(suffix)
    return text


def _covers(key: str, name: str) -> bool:
    return bool(key) and (name == key or name.startswith(f"{key}/"))


def _read(key: str, entry: Mapping[str, Any]) -> Credentials:
    token = entry.get("identitytoken")
    if isinstance(token, str) and token:
        return Credentials(identity_token=token)
    username, password = entry.get("username"), entry.get("password")
    if isinstance(username, str) and isinstance(password, str):
        return Credentials(username=username, password=password)
    try:
        username, _, password = base64.b64decode(str(entry.get("auth", "")), validate=True).decode().partition(":")
    except ValueError as fault:
        raise InputError(
            "E7402", "an entry of .dockerconfigjson cannot be read", where=f"auths[{key!r}].auth"
        ) from fault
    if not username:
        raise InputError("E7402", "an entry of .dockerconfigjson holds no user", where=f"auths[{key!r}]")
    return Credentials(username=username, password=password)
