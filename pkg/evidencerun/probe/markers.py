# SPDX-License-Identifier: Apache-2.0
"""Explicit signs of simulation that can be seen from inside the pod; each one alone makes a report synthetic.

M3 (NVIDIA's nvml-mock) and M6 (preloading) are read here, M4 by the NVML reader, which knows the library that was
loaded. M1, M2 and M5 need the Node object and are found where the reports are merged.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from evidencerun.probe.hosttree import HostTree
from evidencerun.probe.reading import Reading

_MOCK_VARIABLES: Final = ("MOCK_NVML", "MOCK_PCI_ROOT", "MOCK_IB_ROOT")
_MOCK_FOLDERS: Final = ("var/lib/nvml-mock", "host/var/lib/nvml-mock")


def read_markers(tree: HostTree, environ: Mapping[str, str]) -> Reading:
    """Return the markers that are there, each as `M<n>: what was seen`."""
    found = [f"M3: variable {name} is set" for name in sorted(environ) if name.startswith(_MOCK_VARIABLES)]
    found += [f"M3: /{folder} exists" for folder in _MOCK_FOLDERS if tree.exists(folder)]
    if environ.get("LD_PRELOAD"):
        found.append("M6: LD_PRELOAD is set")
    if tree.text_or("etc/ld.so.preload"):
        found.append("M6: /etc/ld.so.preload is not empty")
    return Reading(markers=tuple(found))
