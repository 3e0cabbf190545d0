"""Policies reproduce what toolchains published, module by module; decisions, files and Jobs follow from them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

import pytest
from conftest import Files, Run, planned, resolved

from stowplan import resources
from stowplan.catalog import Catalog
from stowplan.check.rendered import check_rendered
from stowplan.diagnostics import Refused
from stowplan.fit.names import Module, modules
from stowplan.pairing import Pairing
from stowplan.plan.document import plan_document
from stowplan.plan.model import Plan
from stowplan.plan.planner import plan
from stowplan.plan.quantization import said_of
from stowplan.profiles.variant import Checkpoint, Draft
from stowplan.render.artifact import Artifact
from stowplan.render.pairing import render_pairing
from stowplan.render.quantization_rules import expert_groups, rules

INT8, INT4 = "W8A8_DYNAMIC", "W4A8_DYNAMIC"
SHIPPED = ["*wo_a", "*wo_b", "*compressor.wgate", "*compressor.wkv", "*indexer.weights_proj"]
SCRIPT = ["*attn.wq_a", "*attn.wkv", "*attn.wo_a", "*weights_proj", "*compressor.wgate", "*compressor.wkv"]
NVFP4_ATTENTION = r"re:.*attn\.(q_a_proj|q_b_proj|kv_proj|o_a_proj|o_b_proj)$"
NVFP4_INDEXER = r"re:.*attn\.compressor\.indexer\.q_b_proj$"


class Published(NamedTuple):
    """The rules of a file that somebody published: scheme, what it includes, what it excludes."""

    variant: str
    draft: Draft | None
    rules: list[tuple[str, list[str], list[str]]]


PUBLISHED = {
    ("msmodelslim", "flash-w8a8"): Published(
        "deepseek-v4-flash", "mtp", [(INT8, ["*attn*"], SHIPPED), (INT8, ["*ffn*"], ["*gate"])]
    ),
    ("msmodelslim", "pro-w8a8"): Published(
        "deepseek-v4-pro",
        "mtp",
        [
            (INT8, ["*attn*"], SHIPPED),
            (INT8, ["*ffn*"], ["*gate", "*shared_experts*"]),
            (INT8, ["*ffn.shared_experts*"], []),
        ],
    ),
    ("msmodelslim", "pro-w4a8"): Published(
        "deepseek-v4-pro",
        "mtp",
        [
            (INT8, ["*attn*"], SHIPPED),
            (INT4, ["*ffn*"], ["*gate", "*shared_experts*"]),
            (INT8, ["*ffn.shared_experts*"], []),
        ],
    ),
    ("vllm-ascend-script", "flash-w8a8-script"): Published(
        "deepseek-v4-flash",
        "mtp",
        [(INT8, ["*attn*"], SCRIPT), (INT8, ["*ffn*"], ["*gate"]), (INT8, ["*e_proj", "*h_proj"], [])],
    ),
    ("vllm-ascend-script", "pro-w4a8-script"): Published(
        "deepseek-v4-pro",
        "mtp",
        [
            (INT8, ["*attn*"], SCRIPT),
            (INT4, ["*ffn*"], ["*gate", "*shared_experts*"]),
            (INT8, ["*ffn.shared_experts*"], []),
            (INT8, ["*e_proj", "*h_proj"], []),
        ],
    ),
    ("vllm-ascend-script", "dspark-w8a8"): Published(
        "deepseek-v4-flash-0731",
        "dspark",
        [(INT8, ["*attn*"], SCRIPT), (INT8, ["*ffn*"], ["*gate"]), (INT8, ["*main_proj"], [])],
    ),
    ("modelopt", "nvfp4-experts"): Published(
        "deepseek-v4-pro-0813", "dspark", [("NVFP4", ["*ffn.experts.*.w*"], ["*shared_experts*", "mtp.*"])]
    ),
    ("llm-compressor", "flash-nvfp4-fp8"): Published(
        "deepseek-v4-flash",
        None,
        [
            ("FP8_BLOCK", [NVFP4_ATTENTION, NVFP4_INDEXER], []),
            ("NVFP4", [r"re:.*mlp\..*(gate|up|down)_proj$"], []),
        ],
    ),
    ("llm-compressor", "pro-nvfp4-fp8"): Published(
        "deepseek-v4-pro",
        None,
        [
            ("FP8_BLOCK", [NVFP4_ATTENTION, NVFP4_INDEXER, "re:.*shared_experts.*"], []),
            ("NVFP4", [r"re:.*mlp\.experts\..*(gate|up|down)_proj$"], []),
        ],
    ),
    ("quark", "mxfp4-mlp"): Published(
        "deepseek-v4-flash",
        "mtp",
        [("mxfp4", ["*"], ["*attn*", "embed", "head", "*ffn.gate*", "hc_*", "mtp.*"])],
    ),
}
SERVERS = {
    "w8a8": "atlas-800i-a3",
    "w4a8": "atlas-800i-a3",
    "nvfp4": "hgx-b200",
    "mxfp4-quark": "mi355x-8x",
    "bf16": "cambricon-x8-mlu590",
}


def matches(pattern: str, name: str) -> bool:
    if pattern.startswith("re:"):
        return re.match(pattern.removeprefix("re:"), name) is not None
    return fnmatchcase(name, pattern)


def one_of_each(named: Mapping[str, Module], experts: int) -> dict[str, Module]:
    """All modules but the experts between the first and the last of a layer."""
    return {name: module for name, module in named.items() if module.copy in (0, experts - 1) and module.linear}


@pytest.mark.parametrize(("quantizer", "policy"), PUBLISHED, ids=[policy for _, policy in PUBLISHED])
def test_a_policy_is_the_published_one_module_by_module(quantizer: str, policy: str, catalog: Catalog) -> None:
    published = PUBLISHED[quantizer, policy]
    architecture, spec = catalog.architecture(published.variant), catalog.quantizers[quantizer]
    said, model = spec.policy(policy), modules(architecture, published.draft)
    assert said and spec.patterns
    named = one_of_each(model.spelled(spec.patterns.spelling), architecture.numbers["experts"])
    wanted: dict[str, set[str]] = {name: set() for name in named}
    for scheme, include, exclude in published.rules:
        for name in named:
            if any(matches(p, name) for p in include) and not any(matches(p, name) for p in exclude):
                wanted[name].add(scheme)
    assert all(len(schemes) < 2 for schemes in wanted.values())
    found = {}
    for name, module in named.items():
        tensor_class, _, part = module.key.partition(".")
        scheme = said_of(said, tensor_class, part, unnamed=spec.unnamed)
        found[name] = {scheme} & {*spec.schemes}
    assert found == wanted
    assert sum(map(len, wanted.values())) > len(named) / 4


@pytest.mark.parametrize(("quantizer", "policy"), PUBLISHED, ids=[policy for _, policy in PUBLISHED])
def test_rendered_patterns_name_each_module_of_their_scheme_and_no_other(
    quantizer: str, policy: str, catalog: Catalog
) -> None:
    published = PUBLISHED[quantizer, policy]
    architecture, spec = catalog.architecture(published.variant), catalog.quantizers[quantizer]
    said = spec.policy(policy)
    assert said and spec.patterns
    model = modules(architecture, published.draft)
    named = one_of_each(model.spelled(spec.patterns.spelling), architecture.numbers["experts"])
    for rule in rules(architecture, published.draft, spec, said).values():
        meant = {module.name for module in rule.modules}
        bare = [pattern.removeprefix("*") if spec.patterns.prefix == "*" else pattern for pattern in rule.patterns]
        reached = {module.name for name, module in named.items() if any(matches(p, name) for p in bare)}
        assert reached == meant & {module.name for module in named.values()}


@pytest.mark.parametrize("variant", ["deepseek-v4-flash", "deepseek-v4-pro-0813"])
def test_each_spelling_has_a_name_of_its_own_for_each_module(variant: str, catalog: Catalog) -> None:
    architecture = catalog.architecture(variant)
    model = modules(architecture, catalog.variants[variant].native.draft)
    held = {name: len(model.spelled(name)) for name in model.spellings}
    drafts = sum(module.tensor_class == "draft" for module in model.all)
    assert held == {"native": len(model.all), "transformers": len(model.all) - drafts, "runtime": len(model.all)}
    assert len(model.linears) > 3 * architecture.numbers["layers"] * architecture.numbers["experts"]


def made_by_policies(catalog: Catalog) -> Iterator[tuple[str, Checkpoint]]:
    for name, spec in catalog.variants.items():
        yield from ((name, checkpoint) for checkpoint in spec.checkpoints if checkpoint.policy)


def test_a_checkpoint_holds_what_its_policy_gives(catalog: Catalog) -> None:
    checked = 0
    for variant, checkpoint in made_by_policies(catalog):
        spec = catalog.quantizers[str(checkpoint.converted or checkpoint.made_by)]
        policy = spec.policy(str(checkpoint.policy))
        assert policy, checkpoint.id
        for module in modules(catalog.architecture(variant), checkpoint.draft).linears:
            if module.copy:
                continue
            tensor_class, _, part = module.key.partition(".")
            said = said_of(policy, tensor_class, part, unnamed=spec.unnamed)
            wide = "bf16" if module.storage in ("fp8-block", "mxfp4") else module.storage
            wanted = {"float": wide, "source": module.storage}.get(said) or spec.schemes[said].storage
            keys = (module.key, tensor_class)
            held = next((checkpoint.storage[key] for key in keys if key in checkpoint.storage), module.storage)
            assert held == wanted, (checkpoint.id, module.name)
            checked += 1
    assert checked > 10_000


def with_images(pairing: Pairing) -> Pairing:
    """A site that names an image for every quantizer, and what groups of hosts need."""
    site, images = pairing.site, {name: f"registry.example.com/{name}:1" for name in pairing.catalog.quantizers}
    network = site.network.model_copy(update={"interface": "eth0", "rdma_resource": "example.com/rdma"})
    known = {"images": {**images, "vllm-mlu": "registry.example.com/mlu:1"}, "device_memory": {"mlu590": 96000}}
    return replace(pairing, site=site.model_copy(update={**known, "network": network}))


def rendered(catalog: Catalog, variant: str, checkpoint: Checkpoint) -> tuple[Plan, dict[str, Artifact]]:
    pinned = resolved(catalog, variant, SERVERS[checkpoint.format], "chat-short", checkpoint=checkpoint.id)
    made = plan(with_images(pinned))
    artifacts = render_pairing(made)
    return made, {artifact.path.partition("/test/")[2]: artifact for artifact in artifacts}


@pytest.mark.parametrize(
    "made",
    [
        "local/DeepSeek-V4-Flash-w8a8-msmodelslim",
        "local/DeepSeek-V4-Flash-w4a8-msmodelslim",
        "local/DeepSeek-V4-Flash-0731-w8a8-script",
        "local/DeepSeek-V4-Pro-w4a8-msmodelslim",
        "local/DeepSeek-V4-Pro-nvfp4-modelopt",
        "local/DeepSeek-V4-Flash-nvfp4-fp8-llm-compressor",
        "deepseek-ai/DeepSeek-V4-Flash-bf16",
    ],
)
def test_a_checkpoint_that_nobody_publishes_comes_with_the_job_that_makes_it(made: str, catalog: Catalog) -> None:
    variant, checkpoint = next((v, c) for v, c in made_by_policies(catalog) if c.id == made)
    spec = catalog.quantizers[str(checkpoint.converted)]
    result, files = rendered(catalog, variant, checkpoint)
    assert result.chosen and result.layer and spec.run
    assert {f"quantization/{file.name}" for file in spec.files} < {*files}
    [job] = [o for o in files["quantization/job.yaml"].objects if o["kind"] == "Job"]
    pod = job["spec"]["template"]["spec"]
    [container] = pod["containers"]
    resource = result.layer.server.resource
    assert (resource in container["resources"]["limits"]) == spec.run.needs_devices
    if spec.run.needs_devices:
        assert result.layer.server.node_selector.items() <= pod["nodeSelector"].items()
    mounted = {m["mountPath"]: m.get("readOnly", False) for m in container["volumeMounts"]}
    assert mounted["/native"] and mounted["/config"] and not mounted["/models"]
    assert "touch /models/" in container["args"][0] and "{" not in container["args"][0]
    assert f"about {spec.run.hours:g} h" in job["metadata"]["annotations"]["stowplan.dev/budget"]
    document = plan_document(result)
    findings = check_rendered(files.values(), "1.37", {"pairings/test": document}, catalog)
    assert [d for d in findings if d.severity == "error"] == []


def test_a_quantizer_without_a_public_image_asks_the_site_for_one(catalog: Catalog) -> None:
    made = planned(catalog, "deepseek-v4-flash", "atlas-800i-a3", checkpoint="DeepSeek-V4-Flash-w8a8-msmodelslim")
    with pytest.raises(Refused) as refused:
        render_pairing(made)
    [diagnostic] = refused.value.report
    assert (diagnostic.code, "images.msmodelslim" in diagnostic.message) == ("P030", True)


def test_what_nobody_has_published_is_resultonly_where_it_is_asked_for(catalog: Catalog) -> None:
    assert planned(catalog, "deepseek-v4-pro-0813", "atlas-800i-a3").verdict == "infeasible"
    pinned = planned(catalog, "deepseek-v4-flash", "atlas-800i-a3", checkpoint="DeepSeek-V4-Flash-w4a8-msmodelslim")
    assert (pinned.verdict, plan_document(pinned)["quantization"]["decision"]) == ("derived", "convert")


def test_a_checkpoint_that_no_loader_of_the_engine_reads_is_an_open_fact(catalog: Catalog) -> None:
    pinned = {"engine": "vllm", "checkpoint": "Eco-Tech/DeepSeek-V4-Flash-w8a8-mtp"}
    made = planned(catalog, "deepseek-v4-flash", "hgx-h200", **pinned)
    assert made.verdict == "undocumented"
    assert [r.code for r in made.reasons if "reads what msmodelslim writes" in r.message] == ["F032"]


def quantization_of(plans: Mapping[str, Plan], name: str) -> dict[str, Any]:
    decided: dict[str, Any] = plan_document(plans[name])["quantization"]
    return decided


def test_every_class_says_how_it_runs_what_set_it_and_who_reads_it(plans: dict[str, Plan]) -> None:
    for name, made in plans.items():
        decided = quantization_of(plans, name)
        assert made.chosen
        total = sum(row["bytes"] for row in decided["classes"])
        drafted = made.chosen.stack.draft == made.chosen.stack.checkpoint.draft
        size = plan_document(made)["checkpoint"]["bytes"]
        assert not drafted or total == pytest.approx(size, rel=0.001)
        for row in decided["classes"]:
            assert row["runsAs"] and row["setBy"] and row["readBy"]
            assert row["execution"] in ("native", "fallback", "expanded", "unknown")
        assert decided["kvCache"]["main"] and decided["kvCache"]["mainEntryBytes"]
        assert decided["accuracy"]["statement"]
        assert all(row["reason"] for row in decided["refused"])


def row(decided: Mapping[str, Any], tensor_class: str, part: str) -> dict[str, Any]:
    return next(r for r in decided["classes"] if (r["class"], r["part"]) == (tensor_class, part))


def test_the_fallback_is_the_engine_s_own(plans: dict[str, Plan], catalog: Catalog) -> None:
    hopper = row(quantization_of(plans, "v4-flash-0731.hgx-h200.coding-agent"), "routed_experts", "experts")
    assert (hopper["execution"], "Marlin" in hopper["runsAs"]) == ("fallback", True)
    asked = {"flags.--moe-runner-backend": "flashinfer_mxfp4"}
    sglang = decided_of(catalog, "deepseek-v4-flash", "hgx-h200", engine="sglang", set=asked)
    assert "FlashInfer" in row(sglang, "routed_experts", "experts")["runsAs"]
    assert [row(sglang, part, "o_a")["execution"] for part in ("attention", "draft")] == ["expanded"] * 2
    assert any(score["before"] == 95.2 for score in sglang["accuracy"]["figures"])


def decided_of(catalog: Catalog, *cell: str, **pinned: Any) -> dict[str, Any]:
    decided: dict[str, Any] = plan_document(planned(catalog, *cell, **pinned))["quantization"]
    return decided


@pytest.mark.parametrize(
    ("variant", "server", "engine", "kernel", "kind"),
    [
        ("deepseek-v4-pro-0813", "hgx-b200", "vllm", "mega MoE", "native"),
        ("deepseek-v4-flash", "hgx-h200", "sglang", "Marlin", "fallback"),
        ("deepseek-v4-flash", "rtx-pro-6000-8x", "sglang", "Marlin", "fallback"),
    ],
)
def test_experts_run_on_the_backend_that_the_plan_sets(
    catalog: Catalog, variant: str, server: str, engine: str, kernel: str, kind: str
) -> None:
    experts = row(decided_of(catalog, variant, server, engine=engine), "routed_experts", "experts")
    assert (kernel in experts["runsAs"], experts["execution"]) == (True, kind)


def test_what_a_flag_asks_for_and_runs_badly_is_an_assumption(catalog: Catalog) -> None:
    marlin = planned(catalog, "deepseek-v4-flash", "rtx-pro-6000-8x", engine="sglang")
    asked = {"flags.--moe-runner-backend": "flashinfer_mxfp4"}
    other = planned(catalog, "deepseek-v4-flash", "rtx-pro-6000-8x", engine="sglang", set=asked)
    assert marlin.chosen and other.chosen
    assert [any("corrupt" in a for a in made.assumptions) for made in (marlin, other)] == [True, False]


def test_a_format_that_the_chip_lacks_is_not_called_native(catalog: Catalog) -> None:
    checkpoint = "local/DeepSeek-V4-Flash-DSpark-w8a8-script"
    decided = decided_of(catalog, "deepseek-v4-flash-dspark", "atlas-800i-a3", checkpoint=checkpoint)
    kept = row(decided, "draft", "o_a")
    assert (kept["storage"], kept["execution"]) == ("fp8-block", "unknown")


@pytest.mark.parametrize(
    ("server", "engine", "pins", "said"),
    [
        ("hgx-h200", "vllm", {"--kv-cache-dtype": "bfloat16"}, "FlashMLA"),
        ("hgx-b200", "vllm", {"--kv-cache-dtype": "nvfp4"}, "does not take them"),
        ("hgx-b200", "vllm", {"--attention-backend": "FLASHINFER_MLA_SPARSE_DSV4"}, "plain rows"),
        ("rtx-pro-6000-8x", "vllm", {"--kv-cache-dtype": "auto"}, "47174"),
        ("mi355x-8x", "vllm", {"--kv-cache-dtype": "fp8_e5m2"}, "E4M3"),
        ("mi355x-8x", "sglang", {"--kv-cache-dtype": "bfloat16"}, "33194"),
        ("atlas-800i-a3", "vllm-ascend", {"--kv-cache-dtype": "fp8"}, "the ledger counts bf16"),
        ("atlas-800i-a3", "vllm-ascend", {"--quantization": "fp8"}, "takes ascend here"),
        ("hgx-b200", "vllm", {"--quantization": "modelopt_fp4"}, "takes deepseek_v4_fp8 or fp8 here"),
    ],
)
def test_a_format_that_is_pinned_is_held_against_the_engine(
    catalog: Catalog, server: str, engine: str, pins: dict[str, str], said: str
) -> None:
    made = planned(catalog, "deepseek-v4-flash", server, engine=engine, set={f"flags.{k}": v for k, v in pins.items()})
    assert made.verdict == "infeasible"
    assert any(r.code == "F053" and said in r.message for r in made.reasons), made.reasons


@pytest.mark.parametrize(
    ("server", "flag", "value"),
    [
        ("hgx-b200", "--quantization", "fp8"),
        ("hgx-h200", "--kv-cache-dtype", "fp8_ds_mla"),
        ("rtx-pro-6000-8x", "--kv-cache-dtype", "fp8_e4m3"),
    ],
)
def test_another_word_for_the_same_format_is_taken(catalog: Catalog, server: str, flag: str, value: str) -> None:
    assert planned(catalog, "deepseek-v4-flash", server, engine="vllm", set={f"flags.{flag}": value}).chosen


@pytest.mark.parametrize(
    ("server", "engine", "checkpoint", "code"),
    [
        ("hgx-h200", "sglang", "Eco-Tech/DeepSeek-V4-Flash-w8a8-mtp", "F032"),
        ("mi355x-8x", "vllm", "sgl-npu/DeepSeek-V4-Flash-W8A8", "F032"),
        ("hgx-b300", "vllm", "sgl-npu/DeepSeek-V4-Flash-W8A8", "F020"),
        ("atlas-850-950dt", "vllm-ascend", "amd/DeepSeek-V4-Flash-MXFP4", "F032"),
        ("hgx-h200", "vllm", "canada-quant/DeepSeek-V4-Flash-W4A16-FP8-MTP", None),
        ("rtx-pro-6000-8x", "vllm", "canada-quant/DeepSeek-V4-Flash-W4A16-FP8-MTP", None),
        ("hgx-b200", "vllm", "nvidia/DeepSeek-V4-Flash-NVFP4", None),
        ("rtx-pro-6000-8x", "vllm", "nvidia/DeepSeek-V4-Flash-NVFP4", None),
        ("atlas-850-950dt", "vllm-ascend", "Eco-Tech/DeepSeek-V4-Flash-w8a8-mtp", None),
    ],
)
def test_a_checkpoint_that_is_pinned_is_held_against_its_chips_and_loader(
    catalog: Catalog, server: str, engine: str, checkpoint: str, code: str | None
) -> None:
    made = planned(catalog, "deepseek-v4-flash", server, engine=engine, checkpoint=checkpoint)
    assert (made.chosen is not None) == (code is None)
    assert code in [None, *(reason.code for reason in made.reasons)]


def test_an_alternative_is_held_against_its_chips_too(catalog: Catalog) -> None:
    decided = decided_of(catalog, "deepseek-v4-flash", "hgx-h200", engine="sglang")
    formats = {entry["checkpoint"]: entry["formats"] for entry in decided["alternatives"]}
    assert formats["Eco-Tech/DeepSeek-V4-Flash-w8a8-mtp"] == "unknown"
    assert formats["sgl-project/DeepSeek-V4-Flash-FP8"] == "runs"


def test_integers_on_a_chip_that_prefers_block_formats_are_told(catalog: Catalog) -> None:
    checkpoint = "Eco-Tech/DeepSeek-V4-Flash-w8a8-mtp"
    made = planned(catalog, "deepseek-v4-flash", "atlas-850-950dt", checkpoint=checkpoint)
    assert any("pull 10236" in said for said in made.assumptions)


@pytest.mark.parametrize("variant", ["deepseek-v4-pro-0813", "deepseek-v4-flash-dspark"])
def test_a_checkpoint_that_can_be_made_is_offered(catalog: Catalog, variant: str) -> None:
    offered = [r for r in planned(catalog, variant, "atlas-800i-a3").reasons if r.code == "F096"]
    assert len(offered) == 1
    assert "policy dspark-w8a8" in offered[0].message
    made = planned(catalog, variant, "atlas-800i-a3", **offered[0].numbers["change"])
    assert made.chosen and made.chosen.stack.checkpoint.converted


def test_the_policy_and_the_loader_stand_beside_each_class(plans: dict[str, Plan]) -> None:
    pro = quantization_of(plans, "v4-pro.atlas-800i-a3.search")
    assert row(pro, "routed_experts", "experts")["setBy"] == "msmodelslim policy pro-w4a8: W4A8_DYNAMIC"
    assert row(pro, "routed_experts", "experts")["readBy"] == "vllm-ascend ascend: W4A8_DYNAMIC"
    assert row(pro, "attention", "o_b")["setBy"] == "msmodelslim policy pro-w4a8: kept in 16 bit"
    assert [figure["score"] for figure in pro["accuracy"]["figures"]] == [89.90, 96.21]
    assert pro["serve"]["server"]["--quantization"] == "ascend"
    others = {other["checkpoint"]: other["how"] for other in pro["alternatives"]}
    assert others["local/DeepSeek-V4-Pro-w4a8-script"] == "run vllm-ascend-script, policy pro-w4a8-script"


@pytest.mark.parametrize(
    ("server", "words"),
    [
        ("atlas-800i-a3", "int4"),
        ("atlas-350-4p-8", "hif8"),
        ("hgx-b300", "int8"),
        ("mi325x-8x", "fp8 in OCP bytes"),
        ("hgx-h200", "nvfp4"),
    ],
)
def test_what_people_ask_for_in_vain_is_named(server: str, words: str, catalog: Catalog) -> None:
    decided = plan_document(planned(catalog, "deepseek-v4-flash", server))["quantization"]
    assert words in [refused["format"] for refused in decided["refused"]]


def test_an_nvfp4_manifest_lists_the_experts_of_every_layer(catalog: Catalog) -> None:
    spec = catalog.quantizers["modelopt"]
    groups = expert_groups(catalog.architecture("deepseek-v4-pro"), spec, spec.policies[0])
    assert groups == {"NVFP4": [f"layers.{layer}.ffn.experts" for layer in range(61)]}


def test_each_file_of_a_quantizer_has_its_shape(catalog: Catalog) -> None:
    folder = resources.folder("templates") / "quantization"
    for name, spec in catalog.quantizers.items():
        for file in spec.files:
            suffix = "" if file.format == "text" else ".j2"
            assert (folder / name / f"{file.name}{suffix}").is_file()


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("routed_experts: NVFP4", "routed_experts: NVFP5", "unknown scheme 'NVFP5'"),
        ("sglang: fp8", "sglang: fp9", "sglang has no loader 'fp9'"),
        ("vllm: deepseek_v4_fp8", "vlm: deepseek_v4_fp8", "unknown engine 'vlm'"),
    ],
)
def test_a_quantizer_names_what_there_is(old: str, new: str, words: str, run: Run, write_files: Files) -> None:
    text = (resources.folder("profiles") / "quantizers" / "modelopt.yaml").read_text()
    folder = write_files({"profiles/quantizers/modelopt.yaml": text.replace(old, new, 1)}) / "profiles"
    ended = run("check", folder, "--profiles", folder)
    assert ended.code == 1
    assert f"error[C004]: {words}" in ended.out
