# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evidencerun.fingerprint.model import NONE, Observation, Rank, Scope, Status
from evidencerun.fingerprint.node_view import Aspect, NodeView
from evidencerun.fingerprint.resolve import resolve_facet, resolve_node
from evidencerun.snapshot.report import Level, Tier, UnknownReason


def seen(value: str, tier: str = "T2", **members: object) -> Observation:
    defaults = {"id": f"{tier}.{members.get('family', value)}", "level": Level.KERNEL, "raw": value or "raw"}
    return Observation(tier=Tier(tier), value=value, **{**defaults, **members})


def error(reason: UnknownReason, tier: str = "T2", **members: object) -> Observation:
    return seen("", tier, error=reason, **members)


def view(number: int, *observations: Observation, **members: object) -> NodeView:
    defaults = {"machine": f"m{number}", "reported": True}
    return NodeView(observations={Aspect.ACCELERATOR: observations}, **{**defaults, **members})


def facet(*views: NodeView, minimum: int = 100):
    scope = Scope(
        targeted=len(views),
        reported=sum(each.reported for each in views),
        machines=len({each.machine for each in views}),
        minimum_percent=minimum,
    )
    return resolve_facet(views, Aspect.ACCELERATOR, scope)


@pytest.mark.parametrize(
    ("observations", "status", "value"),
    [
        ([seen("h100")], "resolved", "h100"),
        ([seen("h100"), seen("h200", "T3")], "resolved", "h100"),
        ([seen("h100", "T3"), seen("h200", "T5")], "resolved", "h100"),
        ([seen("h100", "T4")], "resolved", "h100"),
        ([seen("h100", "T5")], "claimed", "h100"),
        ([seen("h100", sourced=False)], "claimed", "h100"),
        ([seen("h100", sourced=False), seen("h100", "T4")], "resolved", "h100"),
        ([seen("h100", sourced=False), seen("h200", "T4")], "unknown", ""),
        ([seen("h100"), seen("h200", sourced=False)], "unknown", ""),
        ([seen("h100"), seen("h200", "T3", sourced=False)], "resolved", "h100"),
        ([seen("h100"), seen("h200", family="x")], "unknown", ""),
        ([seen("h100", "T5"), seen("h200", "T5", family="x")], "unknown", ""),
        ([seen("h100", id="pci"), error(UnknownReason.UNKNOWN_SKU, id="pci")], "unknown", ""),
        ([error(UnknownReason.UNKNOWN_SKU), seen("h100", "T3")], "resolved", "h100"),
        ([error(UnknownReason.NO_DRIVER, "T3"), seen("h100")], "resolved", "h100"),
        ([error(UnknownReason.PERMISSION)], "unknown", ""),
        ([], "unknown", ""),
        ([seen("eks", "T4", rank=Rank.SUPPORTS)], "claimed", "eks"),
        ([seen("eks", "T4", rank=Rank.SUPPORTS), seen("rke2", "T4")], "resolved", "rke2"),
        ([seen("vsphere", "T4", rank=Rank.FALLS_BACK)], "resolved", "vsphere"),
        ([seen("vsphere", "T4", rank=Rank.FALLS_BACK), seen("ocp", "T5")], "claimed", "ocp"),
    ],
)
def test_one_node(observations, status, value):
    found = resolve_node(observations)
    assert (found.status, found.value) == (status, value)


@pytest.mark.parametrize(
    ("observations", "status"),
    [
        ([seen("aks", "T5", family="label"), seen("aks", "T4", family="id", rank=Rank.SUPPORTS)], "resolved"),
        ([seen("aks", "T5", family="label"), seen("eks", "T4", family="id", rank=Rank.SUPPORTS)], "claimed"),
        ([seen("aks", "T5", family="label"), seen("aks", "T5", family="other")], "claimed"),
        (
            [seen("aks", "T4", family="id", rank=Rank.SUPPORTS), seen("aks", "T2", family="dmi", rank=Rank.SUPPORTS)],
            "claimed",
        ),
        ([seen("x", "T5", family="label", sourced=False), seen("x", "T4", family="id", rank=Rank.SUPPORTS)], "claimed"),
    ],
)
def test_two_independent_families_resolve_a_service_and_nothing_else(observations, status):
    assert resolve_node(observations, corroborate=True).status == status
    assert resolve_node(observations).status == "claimed"


def test_errors_are_the_strongest_signals_reason():
    found = resolve_node([error(UnknownReason.NO_DRIVER, "T3"), error(UnknownReason.PERMISSION, "T2")])
    assert found.reason is UnknownReason.PERMISSION


def test_all_nodes_agree():
    found = facet(view(1, seen("h100"), devices={"h100": 8}), view(2, seen("h100"), devices={"h100": 8}))
    assert (found.status, found.value, found.reason) == ("resolved", "h100", "")
    assert found.values["h100"].nodes == 2
    assert found.values["h100"].devices == 16


def test_disagreement_keeps_every_value_with_its_nodes():
    found = facet(*(view(i, seen("h100")) for i in range(12)), *(view(i, seen("l40s")) for i in range(20, 24)))
    assert (found.status, found.value, found.reason) == ("unknown", "", "conflict")
    assert {value: count.nodes for value, count in found.values.items()} == {"h100": 12, "l40s": 4}
    assert found.describe() == "h100 (12), l40s (4)"


def test_the_weakest_node_decides_how_sure_the_cluster_is():
    found = facet(view(1, seen("h100")), view(2, seen("h100", "T4")))
    assert (found.status, found.tier) == ("resolved", Tier.CLOUD)
    claimed = facet(view(1, seen("h100")), view(2, seen("h100", "T5")))
    assert (claimed.status, claimed.value, claimed.reason) == ("claimed", "h100", "claimed")


def test_dissent_of_a_weaker_signal_is_kept_as_a_conflict():
    found = facet(view(1, seen("h100"), seen("h200", "T5")), view(2, seen("h100")))
    assert found.status == "resolved"
    assert [(each.value, each.nodes) for each in found.conflicts] == [("h200", 1)]


def test_equal_signals_are_counted_once():
    found = facet(*(view(i, seen("h100")) for i in range(5)))
    assert [(each.value, each.nodes) for each in found.signals] == [("h100", 5)]


def test_one_node_that_did_not_report_leaves_the_value_unknown():
    found = facet(view(1, seen("h100")), view(2, error(UnknownReason.NOT_REPORTED), reported=False))
    assert (found.status, found.reason) == ("unknown", "not_reported")
    assert found.values["h100"].nodes == 1
    assert found.unknown == {"not_reported": 1}


def test_the_run_may_ask_for_less():
    views = [view(i, seen("h100")) for i in range(19)] + [view(99, error(UnknownReason.NOT_SCHEDULED), reported=False)]
    assert facet(*views, minimum=95).status == "resolved"
    assert facet(*views, minimum=96).status == "unknown"


def test_none_wants_every_node():
    views = [view(i, seen(NONE)) for i in range(99)] + [view(99, error(UnknownReason.NOT_REPORTED), reported=False)]
    assert facet(*views, minimum=1).status == "unknown"
    assert facet(*views[:-1]).value == NONE


@pytest.mark.parametrize("reason", [UnknownReason.PERMISSION, UnknownReason.UNKNOWN_SKU, UnknownReason.SANDBOXED])
def test_a_node_that_reported_and_does_not_know_is_never_tolerated(reason):
    views = [*(view(i, seen("h100")) for i in range(99)), view(99, error(reason))]
    assert facet(*views, minimum=1).reason == reason


def test_nodes_of_one_machine_count_its_devices_once():
    views = [view(i, seen("h100"), machine="one", devices={"h100": 8}) for i in range(3)]
    count = facet(*views).values["h100"]
    assert (count.nodes, count.machines, count.devices) == (3, 1, 8)


def test_nothing_targeted_is_nothing_known():
    assert facet().describe() == "unknown(not_collected)"


OBSERVATIONS = st.lists(
    st.builds(
        seen,
        st.sampled_from(["h100", "l40s", ""]),
        st.sampled_from([tier.value for tier in Tier]),
        sourced=st.booleans(),
        family=st.sampled_from("abc"),
        rank=st.sampled_from(Rank),
        error=st.none() | st.sampled_from(UnknownReason),
    ),
    max_size=5,
)


@given(OBSERVATIONS, st.booleans())
def test_a_label_or_an_unsourced_row_alone_never_resolves(observations, corroborate):
    found = resolve_node(observations, corroborate=corroborate)
    if found.status is Status.RESOLVED:
        proofs = [
            each
            for each in observations
            if each.value == found.value and each.sourced and each.tier != Tier.LABEL and each.error is None
        ]
        assert proofs
    assert bool(found.value) is (found.status is not Status.UNKNOWN)


@given(st.lists(OBSERVATIONS, max_size=6), st.randoms(use_true_random=False))
def test_the_order_of_the_nodes_changes_nothing(nodes, random):
    views = [view(number, *observations) for number, observations in enumerate(nodes)]
    before = facet(*views)
    random.shuffle(views)
    assert facet(*views) == before


@given(st.lists(OBSERVATIONS, max_size=6), st.integers(1, 100))
def test_every_target_node_is_accounted_for(nodes, minimum):
    views = [view(number, *observations) for number, observations in enumerate(nodes)]
    found = facet(*views, minimum=minimum)
    assert sum(count.nodes for count in found.values.values()) + sum(found.unknown.values()) == len(nodes)
    if found.resolved:
        assert set(found.values) == {found.value}
