# SPDX-License-Identifier: Apache-2.0
"""What a fresh cluster gets applied: cluster DNS, the default StorageClass with volumes, open issuer discovery."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from evidencelocal import volumes
from evidencelocal.settings import Settings
from evidencelocal.shell import run

_RBAC = "rbac.authorization.k8s.io"


def _binding(name: str, role: str, subject_kind: str, subject: str) -> dict[str, Any]:
    return {
        "apiVersion": f"{_RBAC}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": name},
        "roleRef": {"apiGroup": _RBAC, "kind": "ClusterRole", "name": role},
        "subjects": [{"apiGroup": _RBAC, "kind": subject_kind, "name": subject}],
    }


def _dns_role() -> dict[str, Any]:
    watched = ["services", "endpoints", "pods", "namespaces"]
    return {
        "apiVersion": f"{_RBAC}/v1",
        "kind": "ClusterRole",
        "metadata": {"name": "system:coredns"},
        "rules": [
            {"apiGroups": [""], "resources": watched, "verbs": ["list", "watch"]},
            {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"]},
        ],
    }


def _dns_service(settings: Settings) -> list[dict[str, Any]]:
    """A Service without selector: CoreDNS is a process of the host, not a pod."""
    ports = [{"name": name, "port": 53, "protocol": protocol} for name, protocol in _DNS_PORTS]
    return [
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "kube-dns", "namespace": "kube-system"},
            "spec": {"clusterIP": settings.dns_address, "ports": ports},
        },
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "name": "kube-dns-host",
                "namespace": "kube-system",
                "labels": {"kubernetes.io/service-name": "kube-dns"},
            },
            "addressType": "IPv4",
            "ports": ports,
            "endpoints": [{"addresses": [settings.host], "conditions": {"ready": True}}],
        },
    ]


_DNS_PORTS = (("dns", "UDP"), ("dns-tcp", "TCP"))


def _storage_class() -> dict[str, Any]:
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {
            "name": volumes.STORAGE_CLASS,
            "annotations": {"storageclass.kubernetes.io/is-default-class": "true"},
        },
        "provisioner": "kubernetes.io/no-provisioner",
        "volumeBindingMode": "WaitForFirstConsumer",
    }


def apply(settings: Settings, programs: Path, nodes: int) -> None:
    """Apply everything; applying again changes nothing."""
    everybody = "system:unauthenticated"
    items = [
        _dns_role(),
        _binding("system:coredns", "system:coredns", "User", "system:coredns"),
        *_dns_service(settings),
        _binding("oidc-discovery", "system:service-account-issuer-discovery", "Group", everybody),
        _storage_class(),
        *volumes.offered(settings, nodes),
    ]
    command = [programs / "kubectl", "--kubeconfig", settings.kubeconfig, "apply", "--server-side"]
    options = ["--force-conflicts", "--field-manager=evidencerun-local", "-f", "-"]
    run([*command, *options], stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))
