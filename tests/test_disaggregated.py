"""Prefill and decode on devices of their own: pairs of roles, and what each is told of the other."""

from __future__ import annotations

from typing import Any

import pytest
from conftest import Run, planned, resolved
from laws.strategies import CATALOG

from stowplan.catalog import Catalog
from stowplan.diagnostics import Refused
from stowplan.plan.choice import verdict_of
from stowplan.plan.document import plan_document
from stowplan.plan.planner import decide
from stowplan.profiles.recipe import Layout

A3 = ("deepseek-v4-flash", "atlas-800i-a3")
CONNECTOR = "--kv-transfer-config"


def apart(catalog: Catalog, variant: str, server: str, **pins: Any) -> dict[str, Any]:
    """Document of the plan, with its roles by name."""
    made = planned(catalog, variant, server, mode="disaggregated", **pins)
    document = plan_document(made)
    return {**document, "by_role": {role["name"]: role for role in document.get("roles", ())}}


def test_two_a3_hosts_follow_the_documented_pair(catalog: Catalog) -> None:
    document = apart(catalog, *A3, nodes=2)
    assert document["verdict"] == "documented"
    roles = document["by_role"]
    assert roles["prefill"]["parallelism"] == {"tp": 4, "dp": 4, "ep": 16, "pp": 1}
    assert roles["decode"]["parallelism"] == {"tp": 1, "dp": 16, "ep": 16, "pp": 1}
    assert roles["prefill"]["flags"]["--enforce-eager"] is True
    assert "--enforce-eager" not in roles["decode"]["flags"]


@pytest.mark.parametrize(
    "layout", [None, {"prefill": {"tp": 8, "dp": 2, "ep": 16}, "decode": {"tp": 2, "dp": 8, "ep": 16}}]
)
def test_each_role_is_told_the_real_sizes_of_both(layout: Any, catalog: Catalog) -> None:
    pins = {"layout": layout} if layout else {}
    roles = apart(catalog, *A3, nodes=2, **pins)["by_role"]
    for role in roles.values():
        told = role["flags"][CONNECTOR]["kv_connector_extra_config"]
        for peer in ("prefill", "decode"):
            sizes = roles[peer]["parallelism"]
            assert told[peer] == {"tp_size": sizes["tp"], "dp_size": sizes["dp"]}
    assert [roles[name]["flags"][CONNECTOR]["kv_role"] for name in ("prefill", "decode")] == [
        "kv_producer",
        "kv_consumer",
    ]


def test_instances_of_a_documented_pair_are_replicas_of_its_roles(catalog: Catalog) -> None:
    roles = apart(catalog, "deepseek-v4-flash", "atlas-800i-a2-910b3", nodes=8)["by_role"]
    assert (roles["prefill"]["replicas"], roles["prefill"]["nodes"]) == (4, 1)
    assert (roles["decode"]["replicas"], roles["decode"]["nodes"]) == (1, 4)


def test_replicas_multiply_the_instances_of_both_roles(catalog: Catalog) -> None:
    roles = apart(catalog, "deepseek-v4-flash", "atlas-800i-a2-910b3", nodes=8, replicas=3)["by_role"]
    assert [roles[name]["replicas"] for name in ("prefill", "decode")] == [12, 3]


def test_one_host_is_shared_by_its_devices(catalog: Catalog) -> None:
    document = apart(catalog, "deepseek-v4-flash", "hgx-h200", nodes=1)
    assert sum(role["devicesPerNode"] for role in document["roles"]) == 8


def test_no_split_uses_more_hosts_than_are_given(catalog: Catalog) -> None:
    made = planned(catalog, *A3, mode="disaggregated", nodes=3)
    assert made.candidates
    for candidate in made.candidates:
        spanned = sum(role.placement.nodes * role.instances for role in candidate.roles)
        assert candidate.nodes == spanned == 3


def test_a_layout_by_role_says_the_mode(catalog: Catalog) -> None:
    layout = {"prefill": {"tp": 4, "dp": 4, "ep": 16}, "decode": {"tp": 1, "dp": 16, "ep": 16}}
    made = planned(catalog, *A3, layout=layout)
    assert made.chosen and [role.name for role in made.chosen.roles] == ["prefill", "decode"]
    assert made.chosen.roles[1].placement.layout == Layout(tp=1, dp=16, ep=16)


def test_a_pin_of_one_role_leaves_the_other_alone(catalog: Catalog) -> None:
    pins = {"flags.--seed": 7, "decode.flags.--seed": 8, "decode.flags.--max-num-seqs": 48}
    roles = apart(catalog, *A3, nodes=2, set=pins)["by_role"]
    assert [roles[name]["flags"]["--seed"] for name in ("prefill", "decode")] == [7, 8]
    assert roles["decode"]["flags"]["--max-num-seqs"] == 48
    assert roles["prefill"]["flags"]["--max-num-seqs"] != 48


def test_decode_apart_is_not_stretched_by_prefills(catalog: Catalog) -> None:
    layout = {"tp": 8, "dp": 2, "ep": 16}
    together = planned(catalog, *A3, layout=layout).chosen
    split = planned(catalog, *A3, layout={"prefill": layout, "decode": layout}).chosen
    assert together and split and together.estimate and split.estimate
    assert split.estimate.tpot_ms < together.estimate.tpot_ms
    per_device = "output_tokens_per_second_per_device"
    assert getattr(split.estimate, per_device) < getattr(together.estimate, per_device)  # at the same load


def test_where_nothing_documents_the_transfer_the_verdict_names_that_fact(catalog: Catalog) -> None:
    made = planned(catalog, "deepseek-v4-flash", "mi355x-8x", mode="disaggregated")
    assert made.verdict == "undocumented"
    assert [reason.code for reason in made.reasons] == ["F036"]
    assert "transfer of caches" in made.reasons[0].numbers["fact"]


DOCUMENTED = [
    (name, server)
    for name, recipe in CATALOG.recipes.items()
    if recipe.mode == "disaggregated"
    for server in recipe.servers
]


@pytest.mark.parametrize(("name", "server"), DOCUMENTED, ids=" on ".join)
def test_a_documented_pair_is_accepted_on_its_hosts(name: str, server: str, catalog: Catalog) -> None:
    recipe = catalog.recipes[name]
    host = catalog.servers[server].devices.value
    assert host
    roles = recipe.roles.values()
    spanning = sum(role.nodes * role.instances for role in roles if role.nodes > 1)
    within = sum(role.layout.devices * role.instances for role in roles if role.nodes == 1)
    nodes = spanning + -(-within // host)
    asked = {"mode": "disaggregated", "nodes": nodes, "checkpoint": recipe.checkpoint, "engine": recipe.engine}
    platform = catalog.engines[recipe.engine].platform
    if platform:  # its recipes are each of one release, some of which have no public image and so must be asked for
        asked["engine"] = f"{recipe.engine}@{recipe.versions.removeprefix('==')}"
    made = decide(resolved(catalog, recipe.variant, server, platform=platform, **asked))
    followed = [c for c in made.candidates if c.recipe and c.recipe[0] == name]
    assert [verdict_of(c, made.pairing) for c in followed] == ["documented"]
    assert made.verdict == "documented"  # this one, or another document of the same hosts


def test_parts_of_hosts_fill_the_hosts_that_are_given(catalog: Catalog) -> None:
    layout = {"prefill": {"tp": 4, "ep": 4}, "decode": {"tp": 8, "ep": 8}}
    document = apart(catalog, "deepseek-v4-flash", "hgx-h200", layout=layout)
    roles = document["by_role"]
    assert [(roles[name]["replicas"], roles[name]["devicesPerNode"]) for name in roles] == [(2, 4), (1, 8)]
    five = apart(catalog, "deepseek-v4-flash", "hgx-h200", nodes=5, layout={**layout, "decode": layout["prefill"]})
    assert sum(role["replicas"] * role["devicesPerNode"] for role in five["roles"]) == 40


@pytest.mark.parametrize("nodes", [None, 1, 3])
def test_what_cannot_be_placed_says_so(nodes: int | None, catalog: Catalog) -> None:
    layout = {"prefill": {"tp": 3}, "decode": {"tp": 8, "ep": 8}}
    made = planned(catalog, "deepseek-v4-flash", "hgx-h200", nodes=nodes, layout=layout)
    assert made.verdict == "infeasible"
    assert [reason.code for reason in made.reasons] == ["F013", "F093"]
    assert "prefill of 3 devices and decode of 8 devices cannot fill" in made.reasons[0].message
    assert made.reasons[1].numbers["change"] == {"layout": None, "mode": "disaggregated"}


def test_more_hosts_are_offered_where_too_few_are_pinned(catalog: Catalog) -> None:
    layout = {"tp": 8, "ep": 8}
    pins = {"layout": {"prefill": layout, "decode": layout}}
    made = planned(catalog, "deepseek-v4-flash", "hgx-h200", nodes=1, **pins)
    offered = {reason.code: reason.numbers["change"] for reason in made.reasons[1:]}
    assert offered["F091"] == {"nodes": 2}
    assert planned(catalog, "deepseek-v4-flash", "hgx-h200", nodes=2, **pins).chosen


def test_a_role_of_the_other_mode_is_named(catalog: Catalog) -> None:
    with pytest.raises(Refused) as refused:
        planned(catalog, *A3, set={"decode.flags.--seed": 1})
    assert [d.hint for d in refused.value.report] == ["decode is a role of mode disaggregated; this plan is aggregated"]


def test_a_reason_names_its_role(catalog: Catalog) -> None:
    layout = {"prefill": {"tp": 8, "ep": 8}, "decode": {"dp": 8, "ep": 8}}
    made = planned(catalog, "deepseek-v4-pro", "hgx-h200", layout=layout)
    assert made.verdict == "infeasible"
    assert made.reasons[0].message.startswith("decode: short by ")


def test_the_command_line_plans_and_explains_both_roles(run: Run) -> None:
    options = ("--variant", A3[0], "--server", A3[1], "--use-case", "chat", "--mode", "disaggregated")
    ended = run("plan", *options)
    assert ended.code == 0
    assert "prefill tp=" in ended.out and "decode tp=" in ended.out
    every = run("plan", *options, "--all", "-o", "json").data
    assert [document["rank"] for document in every] == [*range(1, len(every) + 1)]
    assert all(len(document["roles"]) == 2 for document in every)
