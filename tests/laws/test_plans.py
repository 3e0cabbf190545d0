"""Laws of planning, over the real catalogue."""

from __future__ import annotations

from typing import Any

import pytest
from conftest import planned
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from laws.strategies import CATALOG, cells, documents, pairings, servers, use_cases, variants
from stowplan.diagnostics import Refused
from stowplan.pairing import read_pairing, resolve
from stowplan.plan.document import plan_document
from stowplan.plan.matrix import cells as matrix
from stowplan.plan.model import Plan
from stowplan.plan.planner import plan
from stowplan.render.pairing import render_pairing

PINNED = [
    *(f"flags.{field.flag}" for field in CATALOG.engines["vllm"].fields.values()),
    "flags.--speculative-config",
    "flags.--additional-config",
    "flags.--compilation-config",
    "env.HCCL_BUFFSIZE",
    "env.X",
]
SHOWN = sorted({(r.variant, server) for r in CATALOG.recipes.values() for server in r.servers})
"""Variants on servers that somebody has run: most of them can be planned."""
shown = st.sampled_from(SHOWN)
slow = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def answers(made: Plan) -> None:
    """A verdict, and where it is negative a reason with numbers or a named fact."""
    if made.verdict in ("documented", "derived"):
        assert made.chosen and not made.reasons
        return
    assert made.chosen is None
    assert made.reasons
    for reason in made.reasons:
        assert reason.code[0] == "F" and reason.message
    if made.verdict == "undocumented":
        assert any(reason.numbers.get("fact") for reason in made.reasons)
    else:
        assert any(reason.numbers or any(map(str.isdigit, reason.message)) for reason in made.reasons)


@slow
@given(cells)
def test_every_cell_has_a_verdict_and_a_no_has_a_reason(cell: tuple[str, str, str]) -> None:
    answers(planned(CATALOG, *cell))


@pytest.mark.parametrize("variant", list(CATALOG.variants))
def test_every_server_answers_every_variant(variant: str) -> None:
    """Three use cases of each in turn, so that all pairs of server, variant and use case are met; `benchmarks/planning.py` takes all cells."""
    every, turn = list(CATALOG.use_cases), list(CATALOG.variants).index(variant)
    found = []
    for number, server in enumerate(CATALOG.servers):
        asked = [every[(number + turn + 3 * step) % len(every)] for step in range(3)]
        found += matrix(CATALOG, [variant], [server], asked, "default")
    assert len(found) == 3 * len(CATALOG.servers)
    assert [cell for cell in found if cell["verdict"] in ("infeasible", "undocumented") and not cell["reasons"]] == []
    assert [cell for cell in found if (cell["devices"] is None) != bool(cell["reasons"])] == []


@slow
@given(cells)
def test_no_plan_exceeds_the_device(cell: tuple[str, str, str]) -> None:
    made = planned(CATALOG, *cell)
    for candidate in made.candidates:
        if candidate.feasible:
            fit = candidate.roles[0].fit
            parts = (fit.reserved, *fit.weights.values(), fit.activations, fit.graphs, fit.communication, fit.overhead)
            assert min(*parts, fit.free, fit.capacity.kv_cache_bytes) >= 0
            assert sum(parts) + fit.capacity.kv_cache_bytes + fit.free == fit.device_bytes


@slow
@given(shown, use_cases)
def test_devices_divide_over_hosts_as_the_device_layer_allows(pair: tuple[str, str], use_case: str) -> None:
    made = planned(CATALOG, *pair, use_case)
    assume(made.chosen is not None)
    assert made.chosen and made.layer
    placement, counts = made.chosen.roles[0].placement, made.layer.server.pod_counts
    allowed = counts.distributed if placement.nodes > 1 and counts.distributed else counts.single
    assert placement.layout.devices == placement.nodes * placement.devices_per_node
    assert placement.devices_per_node in allowed
    assert placement.nodes <= made.pairing.site.max_nodes


@slow
@given(pairings, st.integers(0, 2**38), st.integers(0, 2**36))
def test_more_free_bytes_never_mean_fewer_tokens(name: str, available: int, more: int) -> None:
    chosen = plan(read_pairing(CATALOG.pairings.files[name], CATALOG)).chosen
    assert chosen
    paging, batch = chosen.roles[0].fit.paging, chosen.roles[0].fit._batch(chosen.roles[0].fit.tuning.max_model_len)
    small, large = paging.capacity(available, batch), paging.capacity(available + more, batch)
    assert small.log_tokens <= large.log_tokens
    assert small.kv_cache_bytes <= available
    assert large.starts or not small.starts
    assert paging.requests(available, 5000, batch) <= paging.requests(available + more, 5000, batch)


@slow
@given(shown, st.data())
def test_a_layout_that_the_search_accepts_is_accepted_alone(pair: tuple[str, str], data: st.DataObject) -> None:
    variant, server = pair
    made = planned(CATALOG, variant, server)
    assume(made.chosen is not None)
    candidate = data.draw(st.sampled_from(made.candidates))
    stack, placement = candidate.stack, candidate.roles[0].placement
    pinned: dict[str, Any] = {
        "layout": placement.layout.model_dump(),
        "nodes": placement.nodes,
        "engine": f"{stack.engine_name}@{stack.version.version}",
        "checkpoint": stack.checkpoint.id,
    }
    alone = planned(CATALOG, variant, server, **pinned)
    assert (alone.chosen is not None) == candidate.feasible


def test_hosts_that_are_offered_would_do() -> None:
    offers = {
        server: [
            r.numbers["change"]["nodes"]
            for r in planned(CATALOG, "deepseek-v4-pro", server, nodes=1).reasons
            if r.code == "F091"
        ]
        for server in CATALOG.servers
    }
    assert any(offers.values())
    for server, nodes in offers.items():
        for count in nodes:
            assert planned(CATALOG, "deepseek-v4-pro", server, nodes=count).chosen, server


@slow
@given(cells)
def test_a_plan_is_a_function_of_its_pairing(cell: tuple[str, str, str]) -> None:
    assert plan_document(planned(CATALOG, *cell)) == plan_document(planned(CATALOG, *cell))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(pairings, st.sampled_from(PINNED), documents)
def test_whatever_is_pinned_is_planned_or_refused(name: str, key: str, value: Any) -> None:
    shipped = read_pairing(CATALOG.pairings.files[name], CATALOG)
    spec = shipped.spec.model_copy(update={"set": {key: value}})
    try:
        made = plan(resolve("pinned", spec, CATALOG))
        if made.chosen:
            render_pairing(made)
    except Refused as refused:
        assert all(d.message for d in refused.report)
    else:
        answers(made)


@slow
@given(shown, st.integers(1, 3))
def test_twice_the_hosts_never_carry_fewer_requests(pair: tuple[str, str], nodes: int) -> None:
    variant, server = pair

    def most(count: int) -> float:
        made = planned(CATALOG, variant, server, nodes=count)
        carried = max((c.headroom for c in made.candidates if c.feasible), default=0.0)
        return min(carried, 2.0)  # the plan lets the engine take twice what is asked, rounded up for each rank

    fewer, more = most(nodes), most(2 * nodes)
    assert more >= fewer or more == 0  # no legal layout fills that many hosts


PINS: list[dict[str, Any]] = [
    {"nodes": 1},
    {"set": {"flags.--max-model-len": 1_048_576}, "nodes": 1},
    {"layout": {"tp": 1, "dp": 8, "ep": 8}},
    {"set": {"flags.--max-num-batched-tokens": 131_072}},
    {"mode": "disaggregated", "nodes": 1},
    {"layout": {"prefill": {"tp": 8, "ep": 8}, "decode": {"tp": 8, "ep": 8}}, "nodes": 1},
    {"layout": {"prefill": {"tp": 3}, "decode": {"dp": 8, "ep": 8}}},
]


@slow
@given(variants, servers, st.sampled_from(PINS))
def test_an_infeasible_plan_becomes_feasible_by_each_change_that_is_offered(
    variant: str, server: str, pins: dict[str, Any]
) -> None:
    try:
        made = planned(CATALOG, variant, server, **pins)
    except Refused:
        assume(False)
    for offer in (reason for reason in made.reasons if reason.code in ("F091", "F092", "F093", "F094", "F096")):
        change = {key: value for key, value in {**pins, **offer.numbers["change"]}.items() if value is not None}
        assert planned(CATALOG, variant, server, **change).chosen is not None, offer.message
