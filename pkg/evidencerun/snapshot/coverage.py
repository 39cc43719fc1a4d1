# SPDX-License-Identifier: Apache-2.0
"""How many target nodes a snapshot speaks for, kept in its metadata so that the document stands for itself.

AICR's snapshots say nothing about it: they were taken on one node.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from evidencerun.snapshot.document import Snapshot

TARGETED_KEY: Final = "evidencerun.dev/targeted-nodes"
REPORTED_KEY: Final = "evidencerun.dev/reported-nodes"
MINIMUM_KEY: Final = "evidencerun.dev/minimum-coverage-percent"
MACHINES_KEY: Final = "evidencerun.dev/machines"


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """Numbers of nodes, and how many percent of the targets must have reported.

    `machines` counts the kernels of the targets: nodes with one boot id are one machine.
    """

    targeted: int
    reported: int
    machines: int
    minimum_percent: int = 100

    @property
    def enough(self) -> bool:
        """True if something was targeted and as many nodes reported as were asked for."""
        return self.reported > 0 and self.reported * 100 >= self.targeted * self.minimum_percent

    @property
    def complete(self) -> bool:
        """True if every target node reported, and there is one."""
        return 0 < self.targeted == self.reported

    def metadata(self) -> dict[str, str]:
        """Return the members of the snapshot's metadata."""
        return {
            TARGETED_KEY: str(self.targeted),
            REPORTED_KEY: str(self.reported),
            MINIMUM_KEY: str(self.minimum_percent),
            MACHINES_KEY: str(self.machines),
        }


def coverage_of(snapshot: Snapshot) -> Coverage | None:
    """Return the coverage that the snapshot states, or None if it states none or no sense."""
    texts = [snapshot.metadata.get(key, "") for key in (TARGETED_KEY, REPORTED_KEY, MINIMUM_KEY, MACHINES_KEY)]
    if not all(text.isascii() and text.isdigit() and len(text) < 10 for text in texts):
        return None
    targeted, reported, minimum, machines = (int(text) for text in texts)
    return Coverage(targeted=targeted, reported=reported, minimum_percent=minimum, machines=machines)
