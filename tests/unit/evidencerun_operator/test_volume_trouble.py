# SPDX-License-Identifier: Apache-2.0
"""A store that cannot keep what it is given is seen in the run, whatever the run's state."""

from __future__ import annotations

import pytest
from operator_samples import active_world, at, condition_of, evaluation, make_plan, planned_run, view

from evidencerun_operator.decide import decide

FULL = "E4507 the store's volume is full"


@pytest.mark.parametrize("more", [{}, {"evaluation": evaluation()}])
def test_a_full_volume_is_told_and_forgotten(more):
    plan = make_plan()
    run = planned_run(plan)
    told = decide(at(5), run, active_world(plan, view(volume_trouble=FULL, **more))).status
    durable = condition_of(told, "Durable")
    assert (durable.status, durable.reason, durable.message) == ("False", "VolumeTrouble", FULL)
    assert FULL in told.summary
    healed = decide(at(6), run, active_world(plan, view(**more))).status
    assert condition_of(healed, "Durable").status == "True"
    assert FULL not in healed.summary
