"""Files that the vendors' parsers accept and that would waste days: `stowplan check` refuses each, and what is published passes."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from conftest import Files, Run

from stowplan.catalog import Catalog
from stowplan.check.runner import check_bundle
from stowplan.fit.names import modules
from stowplan.located_yaml import Document
from stowplan.render.quantization_rules import rules


def formats(act: str, weight: str) -> dict[str, Any]:
    """Formats of activations and weights, each `scope dtype`."""
    sides = {"act": act.split(), "weight": weight.split()}
    return {
        side: {"scope": scope, "dtype": dtype, "symmetric": True, "method": "minmax"}
        for side, (scope, dtype) in sides.items()
    }


INT8 = formats("per_token int8", "per_channel int8")
INT4 = formats("per_token int8", "per_channel int4")
FLOATS = ["*wo_a", "*wo_b", "*compressor.wgate", "*compressor.wkv", "*indexer.weights_proj"]
ATTENTION = {"type": "linear_quant", "qconfig": INT8, "include": ["*attn*"], "exclude": FLOATS}
FFN = {"type": "linear_quant", "qconfig": INT8, "include": ["*ffn*"], "exclude": ["*gate"]}
SMOOTH = {"type": "flex_smooth_quant", "enable_subgraph_type": ["norm-linear"], "include": ["*"]}
FP8 = {
    "weights": {"num_bits": 8, "type": "float", "strategy": "block", "block_structure": [128, 128]},
    "input_activations": {"num_bits": 8, "type": "float", "strategy": "group", "group_size": 128, "dynamic": True},
}
NVFP4 = {
    "weights": {"num_bits": 4, "type": "float", "strategy": "tensor_group", "group_size": 16},
    "input_activations": {
        "num_bits": 4,
        "type": "float",
        "strategy": "tensor_group",
        "group_size": 16,
        "dynamic": "local",
    },
}
LINEARS = r"re:.*attn\.(q_a_proj|q_b_proj|kv_proj|o_a_proj|o_b_proj)$"
INDEXER = r"re:.*attn\.compressor\.indexer\.q_b_proj$"
EXPERTS = r"re:.*mlp\..*(gate|up|down)_proj$"
MX = {"dtype": "fp4", "qscheme": "per_group", "group_size": 32}


def practice(*steps: Any, model: str = "DeepSeek-V4-Flash", **changed: Any) -> dict[str, Any]:
    spec = {
        "process": [*(steps or (ATTENTION, FFN))],
        "dataset": "mix_calib.jsonl",
        "save": [{"type": "ascendv1_saver"}],
    }
    spec = {key: value for key, value in (spec | changed).items() if value is not None}
    return {"apiversion": "modelslim_v1", "metadata": {"verified_model_types": [model]}, "spec": spec}


def groups(attention: str = LINEARS, experts: str = EXPERTS, fp8: Any = FP8, **changed: Any) -> dict[str, Any]:
    named = {"attention": {"targets": [attention], **fp8}, "experts": {"targets": [experts], **NVFP4}}
    config = {"quant_method": "compressed-tensors", "format": "mixed-precision", "config_groups": named, "ignore": []}
    return {"quantization_config": config | changed}


def recipe(*entries: Any, method: str = "max") -> dict[str, Any]:
    return {
        "imports": {"base_disable_all": "configs/ptq/units/base_disable_all", "nvfp4": "configs/numerics/nvfp4"},
        "metadata": {"recipe_type": "ptq"},
        "quantize": {"algorithm": {"method": method}, "quant_cfg": [{"$import": "base_disable_all"}, *entries]},
    }


def on(name: str, **cfg: Any) -> dict[str, Any]:
    return {"quantizer_name": name, "enable": True, "cfg": cfg or {"$import": "nvfp4"}}


def quark(exclude: list[str], weight: Any = MX, inputs: Any = None, **changed: Any) -> dict[str, Any]:
    layer = {"weight": weight, "input_tensors": inputs or {**MX, "is_dynamic": True}}
    return {
        "quantization_config": {"quant_method": "quark", "global_quant_config": layer, "exclude": exclude, **changed}
    }


def hybrid(method: str, ignore: list[str] | None = None) -> dict[str, Any]:
    layers = {f"layers.{layer}.ffn.experts": {"quant_algo": "NVFP4", "group_size": 16} for layer in range(43)}
    config = {
        "quant_method": method,
        "moe_quant_algo": "NVFP4",
        "quantized_layers": layers,
        "ignore": ignore or HYBRID_LEFT,
    }
    return {"quantization_config": config}


FP8_CHANNEL = {"dtype": "fp8_e4m3", "qscheme": "per_channel"}
BY_TOKEN = {
    "weights": {"num_bits": 8, "type": "float", "strategy": "channel"},
    "input_activations": {"num_bits": 8, "type": "float", "strategy": "token", "dynamic": True},
}


def microscaled(bits: int) -> dict[str, Any]:
    """Weights and activations in groups of 32 with a scale that is a power of two."""
    args = {"num_bits": bits, "type": "float", "strategy": "group", "group_size": 32, "scale_dtype": "torch.uint8"}
    return {"weights": args, "input_activations": {**args, "dynamic": True}}


def grouped(**named: tuple[list[str], dict[str, Any]]) -> dict[str, Any]:
    config = {name: {"targets": targets, **args} for name, (targets, args) in named.items()}
    return groups(config_groups=config, ignore=["lm_head"])


HYBRID_LEFT = ["*.attn.*", "*.ffn.shared_experts.*", "head", "mtp.*"]
QUARK_LEFT = ["*attn*", "embed", "head", "*ffn.gate*", "hc_*", "mtp.*"]
DSPARK = practice(
    {**ATTENTION, "exclude": ["*attn.wq_a", "*attn.wkv", "*attn.wo_a", "*compressor.w*", "*weights_proj"]},
    FFN,
    {**FFN, "include": ["*main_proj"], "exclude": []},
    model="DeepSeek-V4-Pro-DSpark",
)
PUBLISHED = {
    "flash W8A8": practice(SMOOTH, ATTENTION, FFN),
    "smoothing on the program's own calibration set": practice(SMOOTH, ATTENTION, FFN, dataset=None),
    "pro W4A8": practice(
        ATTENTION,
        {**FFN, "qconfig": INT4, "exclude": ["*gate", "*shared_experts*"]},
        {**FFN, "include": ["*ffn.shared_experts*"], "exclude": []},
        model="DeepSeek-V4-Pro",
    ),
    "dspark W8A8": DSPARK,
    "nvfp4 and fp8": groups(),
    "nvfp4 experts": recipe(
        on("*ffn.experts.*.w*_weight_quantizer"),
        {"quantizer_name": "*shared_experts*", "enable": False},
        {"quantizer_name": "*mtp.*", "enable": False},
    ),
    "mxfp4": quark(QUARK_LEFT),
    "hybrid": hybrid("fp8"),
    "experts in mxfp4 over fp8 by channel": quark(
        ["*wo_a", "*compressor*", "*weights_proj", "embed", "head", "*ffn.gate*", "hc_*", "mtp.*"],
        weight=FP8_CHANNEL,
        inputs={**FP8_CHANNEL, "is_dynamic": True},
        layer_quant_config={"*experts.*.w*": {"weight": MX, "input_tensors": {**MX, "is_dynamic": True}}},
    ),
    "attention in mxfp8, experts in mxfp4": grouped(
        attention=([LINEARS, INDEXER], microscaled(8)), experts=([EXPERTS], microscaled(4))
    ),
    "fp8 by channel and token on every matrix": grouped(all=(["Linear"], BY_TOKEN)),
}
BAD: dict[str, tuple[dict[str, Any], str, str]] = {
    "wrong apiversion": ({**practice(), "apiversion": "modelslim_v2"}, "D201", "did you mean 'modelslim_v1'"),
    "no save": (practice(save=None), "D202", "spec.save"),
    "empty process": (practice(process=[]), "D202", "spec.process"),
    "dead pattern": (practice({**ATTENTION, "include": ["*attn*", "*.attention.*"]}, FFN), "D203", "*.attention.*"),
    "a draft that the model does not have": (
        practice(ATTENTION, FFN, {**FFN, "include": ["*main_proj"]}),
        "D203",
        "*main_proj",
    ),
    "transformers' names": (practice(ATTENTION, {**FFN, "include": ["*.mlp.experts.*"]}), "D204", "transformers"),
    "the runtime's names": (
        practice(ATTENTION, FFN, {**FFN, "include": ["model.layers.*.mlp.shared_experts.*"]}),
        "D204",
        "spelling",
    ),
    "native names in a recipe": (groups(attention=r"re:.*attn\.(wq_a|wq_b)$"), "D204", "native"),
    "two rules": (practice(ATTENTION, {**FFN, "include": ["*ffn*", "*attn.wq_b"]}), "D206", "two rules"),
    "forgotten draft": (practice(ATTENTION, {**FFN, "include": ["layers.*.ffn*"]}), "D207", "draft.experts"),
    "half of a fused pair": (
        practice(ATTENTION, {**FFN, "exclude": ["*gate", "*shared_experts.w3"]}),
        "D208",
        "read as one",
    ),
    "int8 activations on mxfp4 weights": (
        practice(ATTENTION, {**FFN, "qconfig": formats("per_token int8", "per_block mxfp4")}),
        "D210",
        "per_block mxfp4",
    ),
    "token activations on block weights": (
        groups(
            fp8={**FP8, "input_activations": {"num_bits": 8, "type": "float", "strategy": "token", "dynamic": True}}
        ),
        "D210",
        "no code",
    ),
    "int8 activations of mxfp4 experts": (quark(QUARK_LEFT, weight={**MX, "dtype": "int4"}), "D210", "no code"),
    "int4 on attention": (practice({**ATTENTION, "qconfig": INT4}, FFN), "D211", "single matrices"),
    "static experts": (
        practice(ATTENTION, {**FFN, "qconfig": formats("per_tensor int8", "per_channel int8")}),
        "D211",
        "routed experts",
    ),
    "fp8 by token, which nobody registers": (
        practice(ATTENTION, {**FFN, "qconfig": formats("per_token fp8_e4m3", "per_channel fp8_e4m3")}),
        "D211",
        "WFP8AFP8_DYNAMIC",
    ),
    "nvfp4 on attention": (recipe(on("*attn.wq_b_weight_quantizer")), "D211", "single matrices"),
    "wo_a quantized": (practice({**ATTENTION, "exclude": ["*compressor.w*", "*weights_proj"]}, FFN), "D213", "wo_a"),
    "wo_b of a DSpark draft left out": (
        practice(ATTENTION, FFN, model="DeepSeek-V4-Flash-0731"),
        "D213",
        "must be quantized",
    ),
    "compressor quantized": (practice({**ATTENTION, "exclude": ["*wo_a", "*wo_b"]}, FFN), "D213", "compressor.wkv"),
    "router quantized": (practice(ATTENTION, {**FFN, "exclude": []}), "D213", "ffn.gate"),
    "nothing left out": (quark(["head"]), "D213", "compressor"),
    "attention in the fa3 step": (practice(ATTENTION, FFN, {"type": "fa3_quant"}), "D201", "fa3_quant"),
    "hybrid that leaves out no draft": (hybrid("fp8", HYBRID_LEFT[:-1]), "D209", "draft.experts"),
    "hybrid that leaves out no attention": (hybrid("fp8", HYBRID_LEFT[1:]), "D209", "attention.q_a"),
    "groups of 32 of nvfp4": (
        grouped(all=([EXPERTS], {**NVFP4, "weights": {**NVFP4["weights"], "group_size": 32}})),
        "D210",
        "groups of 32",
    ),
    "int8 written out": (recipe(on("*ffn.experts.*.w*_weight_quantizer", num_bits=8, axis=0)), "D211", "INT8"),
    "one expert left out": (practice(ATTENTION, {**FFN, "exclude": ["*gate", "*experts.17.*"]}), "D208", "experts.17."),
    "unknown way to pack": (groups(format="mixed"), "D201", "format is 'mixed'"),
    "unknown key": (groups(ignored=["lm_head"]), "D214", "did you mean 'ignore'"),
    "unknown key of a layer table": (quark(QUARK_LEFT, excludes=[]), "D214", "did you mean 'exclude'"),
    "invalid expression": (groups(attention=r"re:.*attn\.(q_a_proj"), "D203", "q_a_proj"),
    "unknown algorithm": (recipe(on("*ffn.experts.*.w*_weight_quantizer"), method="maximum"), "D201", "maximum"),
    "unknown number format": (
        recipe(on("*ffn.experts.*.w*_weight_quantizer", num_bits="e2m2")),
        "D201",
        "num_bits is 'e2m2'",
    ),
    "hybrid by another loader": (hybrid("modelopt"), "D201", "quant_method is 'modelopt'"),
}


NVFP4_WRITTEN_OUT = {"num_bits": "e2m1", "block_sizes": {-1: 16, "type": "dynamic", "scale_bits": "e4m3"}}
PUBLISHED["nvfp4 written out"] = recipe(on("*ffn.experts.*.w*_weight_quantizer", **NVFP4_WRITTEN_OUT))
UNUSUAL: dict[str, tuple[dict[str, Any], str, str]] = {
    "attention forgotten": (practice(FFN), "D216", "attention.q_b"),
    "shared experts forgotten": (practice(ATTENTION, {**FFN, "include": ["*ffn.experts*"]}), "D216", "shared_experts"),
    "indexer forgotten": (groups(ignore=["lm_head"]), "D216", "indexer.indexer_q"),
    "only smoothing": (practice(SMOOTH), "D216", "no rule quantizes"),
    "all disabled by the last entry": (
        recipe(on("*ffn.experts.*.w*_weight_quantizer"), {"quantizer_name": "*", "enable": False}),
        "D216",
        "no rule quantizes",
    ),
    "main_proj of a DSpark draft forgotten": (
        practice(
            {**ATTENTION, "exclude": ["*attn.wq_a", "*attn.wkv", "*attn.wo_a", "*compressor.w*", "*weights_proj"]},
            FFN,
            model="DeepSeek-V4-Pro-DSpark",
        ),
        "D216",
        "draft.main_proj",
    ),
    "dead ignore": (groups(ignore=["lm_head", r"re:.*attn\.indexxer.*"]), "D205", "indexxer"),
    "a modifier without targets": (
        {"a_stage": {"a_modifiers": {"QuantizationModifier": {"scheme": "W4A16", "ignore": ["lm_head"]}}}},
        "D216",
        "compressor",
    ),
    "a modifier with targets for each scheme": (
        {
            "a_stage": {
                "a_modifiers": {"QuantizationModifier": {"scheme": {"FP8_BLOCK": [LINEARS], "NVFP4": [EXPERTS]}}}
            }
        },
        "D216",
        "indexer.indexer_q",
    ),
}


@pytest.mark.parametrize("name", UNUSUAL)
def test_what_is_only_unusual_is_a_warning(name: str, catalog: Catalog) -> None:
    data, code, words = UNUSUAL[name]
    found = check_bundle([Document(data, "config.json")], "1.37", {}, catalog)
    assert [d.severity for d in found if d.severity == "error"] == []
    assert any(d.code == code and words in d.message for d in found), found


@pytest.mark.parametrize("name", PUBLISHED)
def test_what_toolchains_publish_passes(name: str, run: Run, write_files: Files) -> None:
    ended = run("check", write_files({"config.yaml": json.dumps(PUBLISHED[name], indent=1)}) / "config.yaml")
    assert (ended.code, "error" in ended.out) == (0, False), ended.out


@pytest.mark.parametrize("name", BAD)
def test_what_the_vendor_s_parser_lets_through_is_refused(name: str, run: Run, write_files: Files) -> None:
    data, code, words = BAD[name]
    ended = run("check", write_files({"config.yaml": json.dumps(data, indent=1)}) / "config.yaml")
    assert ended.code == 1
    found = ended.out.split("config.yaml:")
    assert any(f"error[{code}]" in part and words in part for part in found), ended.out


def test_a_table_of_tensors_is_held_against_every_matrix(catalog: Catalog) -> None:
    architecture, spec = catalog.architecture("deepseek-v4-flash"), catalog.quantizers["msmodelslim"]
    policy = spec.policy("flash-w8a8")
    assert policy
    said = rules(architecture, "mtp", spec, policy, whole=True)
    table = {"model_quant_type": "W8A8_DYNAMIC", "hc_head_fn": "FLOAT"}
    table |= {
        f"{m.name}.weight": "FLOAT" if key == "float" else key for key, rule in said.items() for m in rule.modules
    }
    assert len(table) == len(modules(architecture, "mtp").linears) + 2
    plan = {"pairing": {"variant": "deepseek-v4-flash"}, "engine": {"name": "vllm-ascend"}}

    def checked(changed: dict[str, str]) -> dict[str, str]:
        document = Document(changed, "quant_model_description.json")
        return {d.code: d.message for d in check_bundle([document], "1.37", plan, catalog)}

    assert checked(table) == {}
    began = time.monotonic()
    renamed = {
        f"model.{key.replace('.attn.', '.self_attn.')}" if ".attn." in key else key: value
        for key, value in table.items()
    }
    assert {*checked(renamed)} == {"D204", "D209"}
    assert time.monotonic() - began < 30, "time must grow with the table, not with its square"
    wrong = {**table, "layers.3.attn.wq_b.weight": "W4A8_DYNAMIC", "layers.99.attn.wq_b.weight": "W8A8_DYNAMIC"}
    del wrong["layers.7.attn.wq_b.weight"], wrong["hc_head_fn"]
    found = checked(wrong)
    assert {*found} == {"D202", "D203", "D209", "D211"}
    assert found["D209"].startswith("has no entry for 1 matrices of attention.q_b, as layers.7.attn.wq_b.weight")


def test_the_chip_of_the_plan_beside_it_decides(run: Run, write_files: Files) -> None:
    pairing = {"variant": "deepseek-v4-flash", "server": "atlas-850-950dt"}
    plan = {"apiVersion": "stowplan/v1", "kind": "Plan", "pairing": pairing, "engine": {"name": "vllm-ascend"}}
    steps = (ATTENTION, {**FFN, "qconfig": INT4, "exclude": ["*gate", "*shared_experts*"]})
    files = {"plan.yaml": json.dumps(plan), "quantization/config.yaml": json.dumps(practice(*steps), indent=1)}
    ended = run("check", write_files(files))
    assert ended.code == 0
    assert "warning[D215]: makes int4 weights" in ended.out
    pairing["server"] = "atlas-800i-a3"
    scaled = formats("per_block mxfp8", "per_block mxfp8")
    steps = ({**ATTENTION, "qconfig": scaled}, {**FFN, "qconfig": scaled})
    files = {"plan.yaml": json.dumps(plan), "quantization/config.yaml": json.dumps(practice(*steps), indent=1)}
    assert "error[D212]: makes mxfp8 weights" in run("check", write_files(files)).out


@pytest.mark.parametrize(
    ("server", "engine", "name", "found"),
    [
        ("hgx-h200", "vllm", "nvfp4 experts", "error[D212]: makes nvfp4 weights"),
        ("hgx-h200", "vllm", "hybrid", "error[D212]: makes nvfp4 weights"),
        ("atlas-800i-a3", "vllm-ascend", "hybrid", "error[D211]: vllm-ascend, which the plan beside it runs"),
        ("hgx-h200", "vllm", "flash W8A8", "error[D211]: vllm, which the plan beside it runs"),
        ("cambricon-x8-mlu590", "vllm-mlu", "flash W8A8", "error[D211]: vllm-mlu, which the plan beside it runs"),
        ("hgx-b200", "sglang", "nvfp4 and fp8", "warning[D215]: sglang may not read it"),
    ],
)
def test_the_engine_and_chip_of_the_plan_read_it(
    server: str, engine: str, name: str, found: str, run: Run, write_files: Files
) -> None:
    pairing = {"variant": "deepseek-v4-flash", "server": server}
    plan = {"apiVersion": "stowplan/v1", "kind": "Plan", "pairing": pairing, "engine": {"name": engine}}
    files = {"plan.yaml": json.dumps(plan), "quantization/config.yaml": json.dumps(PUBLISHED[name], indent=1)}
    assert found in run("check", write_files(files)).out


@pytest.mark.parametrize("pattern", [r"re:(([a-z]+\.?)+)+!$", r"re:([a-z0-9.]+)*!", "re:^(?!.*mtp).*gate$", "re:("])
def test_an_expression_of_anyone_takes_no_time(pattern: str, catalog: Catalog) -> None:
    modifier = {"targets": [pattern], "scheme": "W4A16", "ignore": []}
    data = {"quantization_stage": {"quantization_modifiers": {"QuantizationModifier": modifier}}}
    before = time.process_time()
    check_bundle([Document(data, "recipe.yaml")], "1.37", None, catalog)
    assert time.process_time() - before < 30
