# SPDX-License-Identifier: Apache-2.0
"""A recipe that is not where the run says: what is missing, and a command that works for what is there."""

from operator_samples import START, make_run
from test_turn import World

from evidencerun_operator.world import Missing, PendingWorld

CREATE = "kubectl create -n evidence configmap recipe --from-file=other.yaml=FILE"


async def missing(world: World) -> Missing:
    run = make_run(recipe={"configMap": {"name": "recipe", "key": "other.yaml"}})
    found = await world.observer.look(run, START)
    assert isinstance(found, PendingWorld)
    assert isinstance(found.recipe, Missing)
    return found.recipe


async def test_a_config_map_that_is_missing_is_created():
    found = await missing(World(recipe=None))
    assert (found.what, found.fix) == ("ConfigMap evidence/recipe", CREATE)


async def test_a_config_map_without_the_key_is_applied_as_creating_it_would_fail():
    found = await missing(World())
    assert found.what == "key other.yaml of ConfigMap evidence/recipe (found: recipe.yaml)"
    assert found.fix == f"{CREATE} --dry-run=client -o yaml | kubectl apply -f -"
