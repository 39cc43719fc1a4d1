# SPDX-License-Identifier: Apache-2.0
"""Signs that a user-space kernel stands between this container and the machine."""

from __future__ import annotations

from typing import Final

from evidencerun.probe.hosttree import HostTree
from evidencerun.probe.reading import Reading, kernel_signal
from evidencerun.snapshot.report import Dimension

_GVISOR_BANNER: Final = "#1 SMP Sun Jan 10 15:06:54 PST 2016"
"""gVisor answers /proc/version with a constant of its own; no real kernel has this build date."""


def in_gvisor(tree: HostTree) -> bool:
    """Tell whether the kernel's banner is gVisor's."""
    return _GVISOR_BANNER in tree.text_or("proc/version")


def read_sandbox(tree: HostTree) -> Reading:
    """Return the signal `kernel.sandbox`: `gvisor`, or `none-seen`.

    A virtual machine around a pod (Kata) cannot be told from a node by looking from inside; whoever merges the reports
    compares kernel release and boot id with those of the Node object.
    """
    banner = tree.text("proc/version")
    value = "gvisor" if _GVISOR_BANNER in banner else "none-seen"
    return Reading(signals=((Dimension.KERNEL, kernel_signal("kernel.sandbox", banner, value)),))
