# SPDX-License-Identifier: Apache-2.0
"""The API of Kubernetes without nodes, once per session."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.integration.control_plane import ControlPlane


def _sibling(name: str) -> ModuleType:
    """Import a module of this folder, which is no package and on no path."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def api_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A running etcd, API server and controller manager: `.kubectl(...)`, `.kubeconfig`, `.server`."""
    module = _sibling("control_plane")
    with module.control_plane(tmp_path_factory.mktemp("control-plane"), module.kubernetes_programs()) as running:
        yield running


@pytest.fixture(scope="module")
def own_api_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """The same, for one module alone: where nodes and policies that other tests left would change the answers."""
    module = _sibling("control_plane")
    with module.control_plane(tmp_path_factory.mktemp("control-plane"), module.kubernetes_programs()) as running:
        yield running


@pytest.fixture(scope="session")
def kubeconfig(api_server: ControlPlane) -> Path:
    """Path of the administrator's kubeconfig of `api_server`."""
    return api_server.kubeconfig
