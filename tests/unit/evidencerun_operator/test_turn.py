# SPDX-License-Identifier: Apache-2.0
"""Hundreds of runs in the queue cost little: no list, no recipe, and few passes."""

import pytest
from operator_samples import PLACES, RECIPE, START, at, make_run, node_body, policy, run_body, stamp
from test_janitor_and_runs import body

from evidencerun.errors import StoreError
from evidencerun.kube.base import CONFIG_MAPS, EVIDENCE_POLICIES, EVIDENCE_RUNS, NODES, http_fault
from evidencerun_operator.decide import decide
from evidencerun_operator.observe import Observer
from evidencerun_operator.refusals import Refusals
from evidencerun_operator.run_list import RunList
from evidencerun_operator.settings import Settings
from evidencerun_operator.world import PendingWorld, QueuedWorld

PLACES_OF_THE_POLICY = 4
ACCEPTED = {"conditions": [{"type": "Accepted", "status": "True", "reason": "Accepted", "lastTransitionTime": stamp()}]}
SETTINGS = Settings(
    system_namespace=PLACES.system,
    probes_namespace=PLACES.probes,
    checks_namespace=PLACES.checks,
    run_namespaces=PLACES.runs,
    store_url=PLACES.store_url,
    token_file="/token",
    image="registry.example/evidencerun",
    probe_image="registry.example/probe",
)


class World:
    """A cluster and a store that note what they are asked."""

    def __init__(self, *, others=(), recipe=RECIPE):
        self.runs = [*others, run_body()]
        self.recipe = recipe
        self.asked = []
        self.stored = None
        self.memory = RunList(self, PLACES.runs)
        self.observer = Observer(
            self, self, SETTINGS, runs=self.memory, refusals=Refusals(), ca_digest="sha256:0", nonce=lambda: "0" * 32
        )

    async def list_all(self, resource, *, project, namespace="", label_selector="", field_selector="", within=30):
        self.asked.append(resource.plural)
        return [project(found) for found in {EVIDENCE_RUNS: self.runs, NODES: [node_body("node1")]}[resource]]

    async def get(self, resource, name, *, namespace=""):
        if resource == EVIDENCE_POLICIES:
            spec = policy().spec.model_dump(mode="json", by_alias=True)
            return {"metadata": {"name": name, "uid": "policy-uid", "generation": 3}, "spec": spec}
        assert resource == CONFIG_MAPS
        self.asked.append("recipe")
        if self.recipe is None:
            raise http_fault(status=404, reason="NotFound", message="no", where="GET")
        return {"data": {"recipe.yaml": self.recipe}}

    async def server_version(self):
        return {"gitVersion": "v1.36.3"}

    async def plan(self, _uid):
        if isinstance(self.stored, StoreError):
            raise self.stored
        return self.stored

    async def look(self, *, status=None):
        self.asked.clear()
        run = make_run(status=status, recipe={"configMap": {"name": "recipe"}})
        return run, await self.observer.look(run, START)


def waiting(count):
    return [body(f"m{number}", created=-1000 + number) for number in range(count)]


@pytest.mark.parametrize(
    ("before", "status", "asked", "shown"),
    [
        (3, None, ["recipe", "evidenceruns", "nodes"], None),
        (3, ACCEPTED, ["recipe", "evidenceruns", "nodes"], None),
        (4, None, ["recipe", "nodes"], "position 1 "),
        (4, ACCEPTED, [], "position 1 "),
        (53, None, ["recipe", "nodes"], "position about 50 "),
        (54, None, [], "position about 50 "),
        (599, None, [], "position about 500 "),
    ],
)
async def test_what_is_read_for_a_run_in_the_queue(before, status, asked, shown):
    world = World(others=waiting(before))
    await world.memory.open_runs()
    run, found = await world.look(status=status)
    assert world.asked == asked
    decision = decide(at(1), run, found)
    if shown is None:
        assert decision.actions
    else:
        assert decision.actions == ()
        assert shown in decision.status.summary
        place = before + 1 - PLACES_OF_THE_POLICY
        assert decision.requeue_after == min(30.0, 2.0 + place / 10)


async def test_what_is_remembered_is_not_enough_to_begin():
    world = World(others=waiting(9))
    run, found = await world.look()
    assert isinstance(found, PendingWorld)
    assert (found.occupied, found.ahead) == (0, 9)
    assert decide(START, run, found).actions == ()


async def test_a_run_without_its_recipe_lists_nothing_and_is_looked_at_ever_less_often():
    world = World(recipe=None)
    run, found = await world.look()
    assert world.asked == ["recipe"]
    first = decide(START, run, found)
    assert first.requeue_after == 2.0
    run, found = await world.look(status=first.status.to_wire())
    assert decide(at(60), run, found).requeue_after == 15.0


async def test_a_run_in_the_queue_is_cancelled_or_goes_on_with_a_plan_of_the_store():
    world = World(others=waiting(60))
    await world.memory.open_runs()
    _, found = await world.look()
    assert isinstance(found, QueuedWorld)
    assert decide(START, make_run(cancel=True), found).status.verdict == "Cancelled"
    world.stored = StoreError("E3501", "away")
    run, found = await world.look()
    assert "position" in decide(START, run, found).status.summary
