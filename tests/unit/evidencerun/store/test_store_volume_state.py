# SPDX-License-Identifier: Apache-2.0
"""How long a full volume is spoken of."""

from __future__ import annotations

from evidencerun.store.volume_state import VolumeState


def test_trouble_is_told_until_something_is_stored():
    state = VolumeState(lambda: 1000.0)
    assert state.trouble == ""
    state.refused("full")
    assert state.trouble == "full"
    state.took()
    assert state.trouble == ""


def test_trouble_that_nobody_has_met_again_is_forgotten():
    moments = iter([0.0, 44.0, 46.0])
    state = VolumeState(lambda: next(moments))
    state.refused("full")
    assert state.trouble == "full"
    assert state.trouble == ""
