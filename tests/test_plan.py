"""The plan: verdicts with numbers, a ledger that adds up, pins that are checked like choices."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest
from conftest import planned, resolved

from stowplan.catalog import Catalog
from stowplan.diagnostics import Refused
from stowplan.fit.units import GIB
from stowplan.plan.document import candidate_documents, plan_document
from stowplan.plan.model import Plan
from stowplan.plan.planner import decide
from stowplan.render.pairing import render_pairing


class Expected(NamedTuple):
    """What one shipped pairing must come to."""

    verdict: str
    nodes: int
    layout: tuple[int, int, int]
    checkpoint: str
    resource: str
    recipe: str | None


PAIRINGS = {
    "v4-flash.atlas-350-4p-8.chat": Expected("derived", 1, (4, 1, 4), "DeepSeek-V4-Flash", "huawei.com/npu", None),
    "v4-flash.atlas-800i-a3.chat": Expected(
        "documented", 1, (4, 4, 16), "DeepSeek-V4-Flash-w8a8-mtp", "huawei.com/Ascend910", "ascend-flash-a3-dp4tp4-mtp"
    ),
    "v4-pro.atlas-800i-a3.search": Expected(
        "documented", 2, (16, 2, 32), "DeepSeek-V4-Pro-w4a8-mtp", "huawei.com/Ascend910", "ascend-pro-a3-2node-dp2tp16"
    ),
    "v4-pro.gb200-nvl72-tray.chat": Expected(
        "documented", 2, (8, 1, 1), "DeepSeek-V4-Pro", "gpu.nvidia.com", "sglang-pro-fp4-gb200-low-latency"
    ),
    "v4-flash-0731.hgx-h200.coding-agent": Expected(
        "documented", 1, (1, 4, 4), "DeepSeek-V4-Flash-0731", "nvidia.com/gpu", "recipes-flash-0731-h200-dep"
    ),
    "v4-pro-0813.hgx-b200.chat": Expected(
        "documented", 1, (8, 1, 8), "DeepSeek-V4-Pro-0813", "nvidia.com/gpu", "recipes-pro-0813-b200-tep"
    ),
    "v4-flash.mi355x-8x.recommendation": Expected(
        "documented", 1, (1, 8, 1), "DeepSeek-V4-Flash", "amd.com/gpu", "sglang-flash-fp4-mi355x-balanced"
    ),
    "v4-flash.cambricon-x8-mlu590.chat-short": Expected(
        "documented", 1, (8, 1, 8), "DeepSeek-V4-Flash-bf16", "cambricon.com/mlu590", "vllm-mlu-v4-tp8"
    ),
    "v4-flash.atlas-800i-a3.chat.apart": Expected(
        "documented", 1, (4, 4, 16), "DeepSeek-V4-Flash-w8a8-mtp", "huawei.com/Ascend910", "ascend-flash-a3-pd-mtp"
    ),
    "v4-pro-0813.gb200-nvl72-tray.chat.apart": Expected(
        "documented", 2, (1, 8, 8), "DeepSeek-V4-Pro-0813", "gpu.nvidia.com", "recipes-pro-0813-gb200-pd"
    ),
    "v4-pro.atlas-800i-a2-910b3.chat": Expected(
        "documented", 4, (8, 4, 32), "DeepSeek-V4-Pro-w4a8-mtp", "huawei.com/Ascend910", "ascend-pro-a2-4node-dp4tp8"
    ),
    "v4.1-flash.atlas-800i-a3.coding-agent": Expected(
        "derived", 1, (4, 4, 16), "DeepSeek-V4.1-Flash-w8a8", "huawei.com/Ascend910", None
    ),
    "v4-flash.atlas-850-950dt.chat": Expected(
        "documented", 1, (1, 4, 4), "DeepSeek-V4-Flash", "huawei.com/npu", "ascend-flash-950dt-dp4-mtp"
    ),
    "v4-pro.atlas-850-950dt.chat": Expected(
        "documented", 2, (8, 2, 16), "DeepSeek-V4-Pro", "huawei.com/npu", "ascend-pro-950dt-2node-dp2tp8"
    ),
    "v4-flash.atlas-850-950pr.long-context": Expected(
        "derived", 1, (4, 1, 4), "DeepSeek-V4-Flash", "huawei.com/npu", "ascend-flash-950pr-tp4-dsacp-1m"
    ),
    "v4-flash-0731.atlas-850-950pr.coding-agent": Expected(
        "derived", 1, (4, 2, 8), "DeepSeek-V4-Flash-0731", "huawei.com/npu", None
    ),
}


def test_every_shipped_pairing_has_its_expected_plan(plans: dict[str, Plan]) -> None:
    assert set(plans) == set(PAIRINGS)


@pytest.mark.parametrize("name", PAIRINGS)
def test_a_shipped_pairing_has_its_verdict_and_layout(name: str, plans: dict[str, Plan]) -> None:
    plan, expected = plans[name], PAIRINGS[name]
    assert plan.chosen and plan.layer
    placement, chosen = plan.chosen.roles[0].placement, plan.chosen
    found = Expected(
        plan.verdict,
        placement.nodes,
        (placement.layout.tp, placement.layout.dp, placement.layout.ep),
        chosen.stack.checkpoint.id.rpartition("/")[2],
        plan.layer.server.resource,
        chosen.recipe[0] if chosen.recipe else None,
    )
    assert found == expected


def test_pro_on_one_a2_host_is_short_by_a_number_of_gib(catalog: Catalog) -> None:
    plan = planned(catalog, "deepseek-v4-pro", "atlas-800i-a2-910b3", nodes=1)
    assert plan.verdict == "infeasible"
    short = next(reason for reason in plan.reasons if reason.code == "F001")
    assert short.numbers["shortfallGib"] == pytest.approx(short.numbers["shortfallBytes"] / GIB, abs=0.01)
    assert short.numbers["shortfallGib"] > 30
    assert f"short by {short.numbers['shortfallBytes'] / GIB:.1f} GiB per NPU" in short.message
    assert short.numbers["deviceBytes"] == 64 * GIB


def test_pro_on_one_a2_host_is_told_what_would_fit_and_it_does(catalog: Catalog) -> None:
    offer = next(
        r for r in planned(catalog, "deepseek-v4-pro", "atlas-800i-a2-910b3", nodes=1).reasons if r.code == "F091"
    )
    nodes = offer.numbers["change"]["nodes"]
    assert planned(catalog, "deepseek-v4-pro", "atlas-800i-a2-910b3", nodes=nodes).chosen is not None
    assert planned(catalog, "deepseek-v4-pro", "atlas-800i-a2-910b3", nodes=nodes - 1).chosen is None


def test_flash_on_mlu690_is_undocumented_and_names_the_facts(catalog: Catalog) -> None:
    plan = planned(catalog, "deepseek-v4-flash", "cambricon-x8-mlu690")
    assert plan.verdict == "undocumented"
    facts = {reason.numbers["fact"] for reason in plan.reasons}
    assert "mlu690 memoryMib" in facts
    assert any("support of v4-flash on mlu690" in fact for fact in facts)
    assert next(r for r in plan.reasons if r.code == "F032").numbers["settledBy"]


@pytest.mark.parametrize(
    "refused", [("deepseek-v4-pro", "atlas-800i-a2-910b3"), ("deepseek-v4-flash", "cambricon-x8-mlu690")]
)
def test_what_is_refused_is_not_rendered(refused: tuple[str, str], catalog: Catalog) -> None:
    plan = planned(catalog, *refused, nodes=1)
    with pytest.raises(Refused, match=plan.verdict):
        render_pairing(plan)


@pytest.mark.parametrize("name", PAIRINGS)
def test_the_ledger_adds_up_to_the_device(name: str, plans: dict[str, Plan]) -> None:
    document = plan_document(plans[name])
    for role in document["roles"]:
        device = role["memory"]["device"]
        weights = device["weights"]
        assert sum(size for part, size in weights.items() if part != "total") == weights["total"]
        parts = [size for part, size in device.items() if part not in ("total", "weights")]
        assert sum(parts) + weights["total"] == device["total"]
        assert all(isinstance(size, int) and size >= 0 for size in parts)
        lines = [line["bytes"] for line in document["ledger"] if line["role"] == role["name"]]
        assert sum(lines) + device["free"] == device["total"]


@pytest.mark.parametrize("name", PAIRINGS)
def test_every_line_of_the_ledger_says_how_and_by_whom(name: str, plans: dict[str, Plan]) -> None:
    for line in plan_document(plans[name])["ledger"]:
        assert line["formula"] and line["source"] and line["confidence"], line


@pytest.mark.parametrize("name", PAIRINGS)
def test_every_setting_says_what_set_it_and_why(name: str, plans: dict[str, Plan]) -> None:
    document = plan_document(plans[name])
    decided = {decision["key"]: decision for decision in document["decisions"]}
    for role in document["roles"]:
        prefix = f"{role['name']}." if len(document["roles"]) > 1 else ""
        for key in [*(f"{prefix}flags.{f}" for f in role["flags"]), *(f"{prefix}env.{e}" for e in role["env"])]:
            own = [decision for known, decision in decided.items() if known == key or known.startswith(f"{key}.")]
            assert own, key
            assert all(d["setBy"] and d["reason"] and d["source"] for d in own), own


@pytest.mark.parametrize("name", [n for n, e in PAIRINGS.items() if e.verdict == "documented"])
def test_a_documented_plan_cites_its_recipe(name: str, plans: dict[str, Plan], catalog: Catalog) -> None:
    recipe = catalog.recipes[str(PAIRINGS[name].recipe)]
    plan = plans[name]
    assert {*recipe.sources} <= {*plan.sources}
    assert plan.pairing.spec.server in recipe.servers
    assert plan.chosen
    assert {role.name: role.placement.layout for role in plan.chosen.roles} == {
        name: role.layout for name, role in recipe.roles.items()
    }


def test_a_derived_plan_says_what_it_assumes(plans: dict[str, Plan]) -> None:
    derived = [plan for plan in plans.values() if plan.verdict == "derived"]
    assert derived
    assert all(plan.assumptions for plan in derived)


def test_a_documented_recipe_on_another_server_of_the_chip_is_only_derived(catalog: Catalog) -> None:
    plan = planned(catalog, "deepseek-v4-flash", "cloudmatrix-384")
    assert plan.verdict != "documented"


@pytest.mark.parametrize("name", PAIRINGS)
def test_the_chosen_layout_is_first_of_all_that_were_considered(name: str, plans: dict[str, Plan]) -> None:
    plan = plans[name]
    documents = candidate_documents(plan)
    assert plan.candidates[0] is plan.chosen
    assert [d["rank"] for d in documents] == [*range(1, len(documents) + 1)]
    assert documents[0]["losesBy"] == ""
    assert all(d["losesBy"] for d in documents[1:])


@pytest.mark.parametrize("name", PAIRINGS)
def test_a_layout_that_is_not_chosen_says_why_in_numbers(name: str, plans: dict[str, Plan]) -> None:
    for document in candidate_documents(plans[name]):
        if document["verdict"] == "infeasible":
            assert document["reasons"]
            assert all(
                r["code"].startswith("F") and any(c.isdigit() for c in r["message"]) for r in document["reasons"]
            )


H200 = ("deepseek-v4-flash-0731", "hgx-h200")
A3 = ("deepseek-v4-flash", "atlas-800i-a3")
ASCEND_950 = ("deepseek-v4-flash", "atlas-350-4p-8")


def codes(plan: Plan) -> set[str]:
    return {reason.code for reason in plan.reasons}


def layout(tp: int, dp: int, ep: int, pp: int = 1) -> dict[str, int]:
    return {"tp": tp, "dp": dp, "ep": ep, "pp": pp}


def test_a_pinned_layout_is_followed(catalog: Catalog) -> None:
    plan = planned(catalog, *H200, layout=layout(4, 1, 1))
    assert plan.verdict == "derived"
    assert plan.chosen and plan.chosen.roles[0].placement.layout.model_dump() == layout(4, 1, 1)


def test_a_pinned_documented_layout_stays_documented(catalog: Catalog) -> None:
    plan = planned(catalog, *H200, layout=layout(8, 1, 8))
    assert plan.verdict == "documented"


def test_a_pinned_layout_of_more_than_a_host_takes_the_hosts_it_needs(catalog: Catalog) -> None:
    plan = planned(catalog, *H200, layout=layout(8, 2, 16))
    assert plan.chosen and plan.chosen.roles[0].placement.nodes == 2


@pytest.mark.parametrize(
    ("pins", "words"),
    [
        (layout(3, 1, 3), "tensor parallel 3 does not divide heads = 64"),
        (layout(8, 1, 4), "expert parallel 4 is neither 1 nor tensor x data parallel = 8"),
        (layout(8, 1, 8, 2), "pipeline parallel 2 is more than 1"),
        (layout(1, 8, 1), "data parallel 8 without expert parallel keeps 8 copies"),
    ],
)
def test_an_illegal_layout_is_refused_with_its_rule(pins: dict[str, int], words: str, catalog: Catalog) -> None:
    plan = planned(catalog, *H200, layout=pins, engine="vllm@0.26.0")
    assert plan.verdict == "infeasible"
    assert words in " ".join(reason.message for reason in plan.reasons)
    assert "F010" in codes(plan)


def test_tensor_parallel_on_ascend_950_needs_context_parallel_attention(catalog: Catalog) -> None:
    assert planned(catalog, *ASCEND_950, layout=layout(4, 1, 4)).chosen
    without = {"flags.--additional-config": {"enable_dsa_cp": False}}
    plan = planned(catalog, *ASCEND_950, layout=layout(4, 1, 4), set=without)
    assert plan.verdict == "infeasible"
    assert "16 local heads; 64 or 128 are allowed" in plan.reasons[0].message


def test_data_parallel_on_ascend_950_needs_no_context_parallel_attention(catalog: Catalog) -> None:
    without = {"flags.--additional-config": {"enable_dsa_cp": False}}
    assert planned(catalog, *ASCEND_950, layout=layout(1, 4, 4), set=without).chosen


@pytest.mark.parametrize("devices", [3, 5, 7, 9, 15])
def test_an_odd_number_of_dies_is_refused_on_a3(devices: int, catalog: Catalog) -> None:
    plan = planned(catalog, *A3, layout=layout(1, devices, devices))
    odd = next(reason for reason in plan.reasons if reason.code == "F011")
    assert f"{devices} devices in one pod are not allowed" in odd.message
    assert devices not in odd.numbers["allowed"]


@pytest.mark.parametrize(
    ("flag", "value", "code", "words"),
    [
        ("--max-model-length", 1, "F050", "did you mean '--max-model-len'?"),
        ("--enable-hc-sp", True, "F050", "versions that do: >=0.32.0"),
        ("--dtype", "int3", "F051", "--dtype does not take 'int3'"),
        ("--port", "http", "F051", "--port takes a whole number, not 'http'"),
        ("--enable-expert-parallel", 1, "F051", "--enable-expert-parallel takes true or false, not 1"),
        ("--max-model-len", 1.5, "F051", "takes a whole number, not 1.5"),
        ("--max-model-len", "long", "F051", "takes a whole number, not 'long'"),
        ("--max-num-seqs", [8], "F051", "takes a whole number, not [8]"),
        ("--max-num-batched-tokens", "8k", "F051", "takes a whole number, not '8k'"),
        ("--gpu-memory-utilization", "most", "F051", "takes a number, not 'most'"),
    ],
)
def test_a_pinned_flag_is_checked_against_the_version_s_table(
    flag: str, value: Any, code: str, words: str, catalog: Catalog
) -> None:
    plan = planned(catalog, *H200, set={f"flags.{flag}": value})
    assert plan.verdict == "infeasible"
    assert words in next(reason.message for reason in plan.reasons if reason.code == code)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("flags.--max-model-len", None),
        ("flags.--max-model-len", 0),
        ("flags.--max-model-len", -1),
        ("flags.--max-num-seqs", 0),
        ("flags.--max-num-batched-tokens", 0),
        ("flags.--max-num-batched-tokens", -1),
        ("flags.--gpu-memory-utilization", 1.5),
        ("flags.--gpu-memory-utilization", -1),
        ("flags.--port", None),
        ("flags.--port", -1),
        ("flags.--tensor-parallel-size", 8),
        ("flags.--data-parallel-size", 1),
        ("flags.--speculative-config", "eagle"),
        ("env.", "x"),
        ("env.A=B", "x"),
    ],
)
def test_a_pin_that_cannot_be_is_never_planned(key: str, value: Any, catalog: Catalog) -> None:
    try:
        plan = planned(catalog, *H200, layout=layout(1, 4, 4), set={key: value})
    except Refused:
        return
    assert plan.verdict == "infeasible"
    assert any(key.partition(".")[2] in reason.message for reason in plan.reasons)


def test_a_buffer_size_that_is_no_number_is_refused(catalog: Catalog) -> None:
    try:
        plan = planned(catalog, *A3, set={"env.HCCL_BUFFSIZE": "large"})
    except Refused:
        return
    assert plan.verdict == "infeasible"


def test_a_pinned_flag_reaches_the_plan_and_says_who_pinned_it(catalog: Catalog) -> None:
    plan = planned(catalog, *H200, set={"flags.--max-model-len": 131072, "env.NCCL_DEBUG": "INFO"})
    document = plan_document(plan)
    role = document["roles"][0]
    assert role["flags"]["--max-model-len"] == role["capacity"]["maxModelLen"] == 131072
    assert role["env"]["NCCL_DEBUG"] == "INFO"
    assert next(d["setBy"] for d in document["decisions"] if d["key"] == "flags.--max-model-len") == "pairing test"


def test_a_variable_is_text_whatever_it_was_pinned_as(catalog: Catalog) -> None:
    plan = planned(catalog, *H200, set={"env.OMP_NUM_THREADS": 10})
    assert plan_document(plan)["roles"][0]["env"]["OMP_NUM_THREADS"] == "10"


def test_a_role_that_the_plan_does_not_have_cannot_be_pinned(catalog: Catalog) -> None:
    with pytest.raises(Refused, match="router"):
        planned(catalog, *H200, layout={"router": layout(8, 1, 8)})


@pytest.mark.parametrize(
    ("pins", "code"),
    [
        ({"nodes": 99}, "P022"),
        ({"nodes": 3, "layout": layout(8, 1, 8)}, "P021"),
        ({"mode": "aggregated", "layout": {"prefill": layout(8, 1, 8)}}, "P025"),
        ({"set": {"decode.flags.--seed": 1}}, "P023"),
        ({"mode": "disaggregated", "set": {"server.flags.--seed": 1}}, "P023"),
        ({"set": {"replicas": 2}}, "P023"),
        ({"deviceLayer": "amd-device-plugin"}, "P024"),
    ],
)
def test_a_contradiction_is_refused_before_anything_is_planned(
    pins: dict[str, Any], code: str, catalog: Catalog
) -> None:
    with pytest.raises(Refused) as refused:
        planned(catalog, *H200, **pins)
    assert [d.code for d in refused.value.report] == [code]


def test_a_layout_of_more_hosts_than_the_site_has_says_so(catalog: Catalog) -> None:
    message = ""
    try:
        message = " ".join(r.message for r in planned(catalog, *H200, layout=layout(8, 16, 128)).reasons)
    except Refused as refused:
        message = str(refused)
    assert "maxNodes" in message or "16 nodes" in message


def test_a_layout_that_does_not_divide_over_hosts_says_so(catalog: Catalog) -> None:
    message = ""
    try:
        message = " ".join(
            r.message for r in planned(catalog, *H200, layout=layout(1, 9, 9)).reasons if r.code != "F090"
        )
    except Refused as refused:
        message = str(refused)
    assert "9" in message


@pytest.mark.parametrize(
    ("field", "value", "nearest"),
    [
        ("variant", "deepseek-v4-flsh", "deepseek-v4-flash"),
        ("server", "atlas-800i-a33", "atlas-800i-a3"),
        ("useCase", "chatt", "chat"),
        ("site", "defautl", "default"),
        ("engine", "vlm", "vllm"),
        ("deviceLayer", "amd-device-plugn", "amd-device-plugin"),
    ],
)
def test_an_unknown_name_is_answered_with_the_nearest_known(
    field: str, value: str, nearest: str, catalog: Catalog
) -> None:
    spec = {"variant": H200[0], "server": H200[1], "useCase": "chat", field: value}
    with pytest.raises(Refused) as refused:
        resolved(catalog, spec.pop("variant"), spec.pop("server"), spec.pop("useCase"), **spec)
    (finding,) = refused.value.report
    assert finding.code == "P010"
    assert f"'{value}'" in finding.message
    assert finding.hint == f"did you mean '{nearest}'?"


@pytest.mark.parametrize(("field", "value"), [("engine", "vllm@0.1.0"), ("checkpoint", "someone/else")])
def test_an_unknown_version_or_checkpoint_is_answered_with_all_that_are_known(
    field: str, value: str, catalog: Catalog
) -> None:
    with pytest.raises(Refused) as refused:
        resolved(catalog, *H200, **{field: value})
    (finding,) = refused.value.report
    assert finding.hint.startswith("known: ")


@pytest.mark.parametrize("name", ["deepseek-v4-flash-0731", "deepseek-ai/DeepSeek-V4-Flash-0731"])
def test_a_checkpoint_may_be_named_short_or_full(name: str, catalog: Catalog) -> None:
    plan = planned(catalog, *H200, checkpoint=name)
    assert plan.chosen and plan.chosen.stack.checkpoint.id == "deepseek-ai/DeepSeek-V4-Flash-0731"


def test_a_pinned_engine_version_is_taken(catalog: Catalog) -> None:
    plan = planned(catalog, *H200, engine="vllm@0.33.0")
    assert plan.chosen and plan.chosen.stack.version.version == "0.33.0"


def test_the_longest_context_starts_and_one_more_block_does_not(plans: dict[str, Plan]) -> None:
    chosen = plans["v4-flash.cambricon-x8-mlu590.chat-short"].chosen
    assert chosen
    longest = chosen.roles[0].fit.longest_context(2**21)
    available = chosen.roles[0].fit.capacity.available
    batch = chosen.roles[0].fit._batch
    assert chosen.roles[0].fit.paging.capacity(available, batch(longest)).starts
    assert not chosen.roles[0].fit.paging.capacity(available, batch(longest + 256)).starts


def test_two_possible_sizes_of_memory_are_one_verdict_or_none(catalog: Catalog) -> None:
    unsure = [
        name
        for name, server in catalog.servers.items()
        if (chip := catalog.chips[server.chip]).memory_mib.value is None and chip.memory_mib.bounds
    ]
    layered = {name for layer in catalog.device_layers.values() for name in layer.servers}
    served = {family for engine in catalog.engines.values() for s in engine.supports for family in s.chip_families}
    planning = [n for n in unsure if n in layered and {*catalog.chips[catalog.servers[n].chip].families} & served]
    assert planning
    for name in planning:
        plan = planned(catalog, "deepseek-v4-flash", name)
        said = " ".join([*plan.assumptions, *(r.message for r in plan.reasons)])
        assert "is unknown" in said, (name, plan.verdict)


@pytest.mark.parametrize(
    ("where", "key", "value", "words"),
    [
        (H200, "flags.--attention-config.use_fp4_indexer_cache", True, "SM100"),
        (H200, "env.NCCL_MNNVL_ENABLE", "1", "NVL72"),
        (H200, "flags.--speculative-config.method", "mtp", "takes dspark here, not mtp"),
        (ASCEND_950, "flags.--quantization", "ascend", "--quantization cannot be given here"),
        (ASCEND_950, "flags.--block-size", 256, "--block-size takes 32 or 64 or 128 here, not 256"),
    ],
)
def test_a_setting_that_the_engine_forbids_there_is_refused(
    where: tuple[str, ...], key: str, value: Any, words: str, catalog: Catalog
) -> None:
    reasons = planned(catalog, *where, set={key: value}).reasons
    assert words in next(reason.message for reason in reasons if reason.code == "F053")


def test_a_pin_over_a_documented_value_makes_the_plan_derived_and_says_so(catalog: Catalog) -> None:
    documented = planned(catalog, *A3)
    pinned = planned(catalog, *A3, set={"flags.--block-size": 64})
    assert (documented.verdict, pinned.verdict) == ("documented", "derived")
    assert any(a.startswith("flags.--block-size is pinned to 64; ") for a in pinned.assumptions)
    same = planned(catalog, *A3, set={"flags.--block-size": 32})
    assert same.verdict == "documented"


def test_a_cluster_newer_than_the_layer_s_vendor_tests_is_an_assumption(catalog: Catalog) -> None:
    [stated] = [a for a in planned(catalog, *A3).assumptions if "newest that is tested" in a]
    assert stated.startswith("Kubernetes 1.37 is newer than 1.34")


def test_a_draft_that_is_left_off_is_an_assumption(catalog: Catalog) -> None:
    without = planned(catalog, "deepseek-v4-flash-0731", "atlas-350-4p-8")
    assert without.chosen and without.chosen.stack.draft is None
    assert any(
        "with the dspark draft on ascend-950pr" in a and a.endswith("it runs without") for a in without.assumptions
    )
    assert not any("it runs without" in a for a in planned(catalog, *H200).assumptions)


def assumed(catalog: Catalog, variant: str, server: str, **pins: Any) -> str:
    return "; ".join(planned(catalog, variant, server, **pins).assumptions)


def test_a_network_of_unknown_rate_is_an_assumption_where_the_layout_uses_it(catalog: Catalog) -> None:
    words = "the network rate of atlas-850-950dt is unknown"
    over_hosts = {"layout": {"tp": 8, "dp": 2, "ep": 16}, "nodes": 2}
    assert "a group of 16 devices sends out of its scale-up domain of 8" in assumed(
        catalog, "deepseek-v4-pro", "atlas-850-950dt", **over_hosts
    )
    assert words in assumed(catalog, "deepseek-v4-pro", "atlas-850-950dt", **over_hosts)
    assert words not in assumed(catalog, "deepseek-v4-flash", "atlas-850-950dt", nodes=1)
    assert "network rate" not in assumed(catalog, "deepseek-v4-pro", "hgx-h200", layout={"tp": 16, "ep": 16})


def test_a_cost_without_prices_is_an_assumption(catalog: Catalog) -> None:
    cell = ("deepseek-v4-flash", "hgx-h200")
    assert "gives no price of hgx-h200" in assumed(catalog, *cell, objective="cost")
    assert "gives no price" not in assumed(catalog, *cell)


def test_a_rate_without_an_estimate_is_an_assumption(catalog: Catalog) -> None:
    blind = next(
        made
        for server in catalog.servers
        if (made := decide(resolved(catalog, "deepseek-v4-flash", server, atLeast=5000.0))).chosen
        and made.chosen.estimate is None
    )
    assert "without an estimate atLeast sizes nothing: 1 replica(s), as pinned" in blind.assumptions


def test_a_recipe_counts_for_the_versions_that_it_is_of(catalog: Catalog) -> None:
    cell = ("deepseek-v4-flash-vision-exp", "atlas-800i-a3")
    made = planned(catalog, *cell, nodes=1)
    assert made.chosen and made.verdict == "documented"
    assert made.chosen.stack.version.version == "0.27.0"  # the default is older than the document
    older = planned(catalog, *cell, nodes=1, engine="vllm-ascend@0.25.0")
    assert older.verdict != "documented"
