# SPDX-License-Identifier: Apache-2.0
"""The few calls this package makes to the API server, with the administrator's certificate."""

from __future__ import annotations

import http.client
import json
import ssl
from typing import Any

from evidencelocal.settings import ClusterError, Settings


def call(settings: Settings, method: str, path: str, body: dict[str, Any] | None = None) -> tuple[int, Any]:
    """Send one request and return (HTTP status, decoded JSON); ClusterError when the server cannot be reached."""
    pki = settings.pki
    try:
        context = ssl.create_default_context(cafile=str(pki / "ca.crt"))
        context.load_cert_chain(pki / "admin.crt", pki / "admin.key")
        connection = http.client.HTTPSConnection(settings.host, 6443, timeout=10, context=context)
        headers = {"Accept": "application/json", "Content-Type": "application/json"}
        connection.request(method, path, json.dumps(body) if body else None, headers)
        answer = connection.getresponse()
        text = answer.read()
        connection.close()
    except (OSError, http.client.HTTPException) as error:
        raise ClusterError(f"the API server at {settings.api} cannot be reached: {error}") from error
    return answer.status, json.loads(text or b"{}")


def node_conditions(settings: Settings) -> dict[str, bool]:
    """Node name -> whether its condition Ready is True."""
    _, answer = call(settings, "GET", "/api/v1/nodes")
    return {
        item["metadata"]["name"]: any(
            condition["type"] == "Ready" and condition["status"] == "True"
            for condition in item["status"].get("conditions", [])
        )
        for item in answer.get("items", [])
    }
