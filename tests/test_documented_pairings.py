"""Every documented serving command, derived again from rules and recipes, flag by flag and variable by variable."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

import pytest
import yaml
from conftest import ROOT, resolved

from stowplan.catalog import Catalog
from stowplan.pairing import Pairing
from stowplan.plan.evaluate import Evaluator
from stowplan.plan.flags import unknown_flags
from stowplan.plan.layouts import Placement
from stowplan.plan.model import Stack
from stowplan.plan.settings import Origin, Settings, apply_rules, in_order, put_set
from stowplan.profiles.engine import EngineSpec, Version
from stowplan.profiles.recipe import RecipeRole, RecipeSpec
from stowplan.profiles.rule import Set
from stowplan.profiles.variant import Draft
from stowplan.versions import in_range

FACTS = ROOT.parent / "shared" / "facts" / "documented-pairings.yaml"
pytestmark = pytest.mark.skipif(not FACTS.exists(), reason="the documented pairings are not beside this checkout")

NOT_SERVING = {"assembled": "no verbatim command"}
OFF = "the prefix cache is off and the length is the sweep's variable"
SWEEPS = {
    "infx-pro-h200-tp8-mtp": OFF,
    "infx-pro-h200-dep8": OFF,
    "infx-pro-h200-sglang-tp8-mtp": "the radix cache is off and the running requests are computed from the sweep's load",
    "infx-pro-mi300x-tp8": OFF,
    "infx-pro-mi355x-atom-dpattn": "the prefix cache is off and the sequences are the sweep's load",
    "infx-pro-b200-trt-mtp": "a branch's private image, and the file of options that the script writes is not in the facts",
    "infx-pro-gb200-sglang-2p1d-mtp": "every request is made to miss the radix cache",
    "infx-pro-gb200-llmd-1p1d-megamoe": "the prefix cache is off",
}
"""Steps of a benchmark's sweep, which measure an engine and serve nobody; their numbers are for calibration."""
HELD = {"recipe_hw_verified", "cookbook_verified", "ci_baseline", "vendor_recipe_benchmarked"}
"""Evidence of which nothing may be left that is not reproduced."""

LEDGER_FIELDS = ("maxModelLen", "maxNumSeqs", "maxNumBatchedTokens", "utilization", "port", "servedModelName")
"""Written into every command: what the ledger is computed from, and what clients and the Service ask for."""
SITE_FIELDS = ("port", "servedModelName")
"""Of these the site's value stands even where a document gives one."""
ADDED = {
    "--shutdown-timeout": "running requests may finish before the pod ends",
    "--host": "the endpoint answers outside its own container",
    "--enable-metrics": "monitors and alert rules read the metrics",
    "--tool-call-parser": "clients get tool calls; the documents offer the parser as an option of the command",
    "--enable-auto-tool-choice": "as for the parser",
    "--reasoning-parser": "clients get reasoning apart from the text; the documents offer it as an option",
    "--tokenizer-mode": "the checkpoints carry no chat template",
}
"""Added on purpose where a document is silent."""
POD = {
    "ASCEND_RT_VISIBLE_DEVICES": "the device plugin chooses the devices; a fixed list is wrong in a pod",
    "CUDA_VISIBLE_DEVICES": "as for Ascend",
    "GLOO_SOCKET_IFNAME": "the host's interface is the site's value",
    "HCCL_SOCKET_IFNAME": "as for gloo",
    "NCCL_SOCKET_IFNAME": "as for gloo",
    "TP_SOCKET_IFNAME": "as for gloo",
    "IFNAME": "as for gloo",
    "HCCL_IF_IP": "the pod's own address",
    "VLLM_NIXL_SIDE_CHANNEL_HOST": "the pod's own address",
    "VLLM_GPU_NIC_PCIE_MAPPING": "the host's pairs of device and interface are the site's value",
    "HF_HOME": "weights are mounted, no hub is asked",
    "HF_HUB_CACHE": "as above",
    "HF_HUB_OFFLINE": "as above; set in every pod",
    "TRANSFORMERS_OFFLINE": "as above",
    "VLLM_USE_MODELSCOPE": "as above",
    "SERVER_PORT": "a variable of the job's script",
}
"""Variables that the pod, the device plugin or the site give."""
GROUP = {"--data-parallel-rank", "--data-parallel-address", "--data-parallel-rpc-port", "--data-parallel-start-rank"}
"""A process's place in its group where the document leaves it to a variable: the pod's environment gives it."""
SAME = {"--tp": "--tensor-parallel-size", "--dp": "--dp-size", "-tp": "--tensor-parallel-size"}
"""Short spellings of documents."""
RESOLVED = {"$3": "dp", "${DP_SIZE}": "dp", "$7": "tp", "${TP_SIZE}": "tp"}
"""Variables of documents whose value the role's parallelism gives."""

NOT_YET: dict[str, str] = {}
"""Commands that are not reproduced yet, with the reason; an entry that is no longer needed fails the test."""

Key = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Comparison:
    """One documented command against the derived one."""

    name: str
    evidence: str
    listed: tuple[str, ...]
    unexplained: tuple[str, ...]
    stale: tuple[str, ...]
    """Differences that the recipe lists and that are none."""
    refused: tuple[str, ...]
    """Flags that the engine version does not know, or not so."""

    @property
    def verdict(self) -> str:
        if self.unexplained:
            return "not reproduced"
        return "equal but for listed differences" if self.listed else "exact"


def rows() -> dict[str, dict[str, Any]]:
    """The documented serving commands by the name of their recipe: names here have no underscores."""
    data = yaml.load(FACTS.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)["pairings"]
    commands = [row for row in data if row["evidence"] not in NOT_SERVING and row["id"] not in SWEEPS]
    return {
        row["id"].replace("_", "-"): row for row in commands if any(role.get("flags") for role in row["roles"].values())
    }


def test_a_benchmark_s_command_is_a_recipe_unless_it_is_a_step_of_a_sweep() -> None:
    data = yaml.load(FACTS.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)["pairings"]
    benchmarks = {row["id"] for row in data if row["evidence"] == "benchmark_harness"}
    assert benchmarks - {*SWEEPS} == {"recipes-v41-mi355x-tp4-agentx"}
    assert {*SWEEPS} <= benchmarks
    assert benchmarks - {*SWEEPS} <= {*rows()}


def the_server(recipe: RecipeSpec, catalog: Catalog) -> str:
    if recipe.servers:
        return recipe.servers[0]
    return next(name for name, server in catalog.servers.items() if server.chip in recipe.chips)


def the_stack(recipe: RecipeSpec, pairing: Pairing) -> Stack:
    """The first version of the recipe's range that has an image and runs the checkpoint with its draft, as plans choose it."""
    engine = pairing.catalog.engines[recipe.engine]
    checkpoint = next(c for c in pairing.variant.checkpoints if c.id == recipe.checkpoint)
    inside = [v for v in engine.versions if in_range(v.version, recipe.versions)]
    fitting = [v for v in inside if any(v.images.get(family) for family in pairing.chip.families)] or inside
    for draft in (checkpoint.draft, None):
        for version in fitting:
            if supports(engine, version, pairing, draft):
                return Stack(recipe.engine, engine, version, checkpoint, draft)
    return Stack(recipe.engine, engine, fitting[0], checkpoint, checkpoint.draft)


def supports(engine: EngineSpec, version: Version, pairing: Pairing, draft: Draft | None) -> bool:
    families = {*pairing.chip.families}
    return bool({*version.images} & families) and any(
        s.variant_family == pairing.variant.family
        and {*s.chip_families} & families
        and (draft or "none") in s.draft
        and in_range(version.version, s.versions)
        for s in engine.supports
    )


def derived(name: str, recipe: RecipeSpec, role: str, catalog: Catalog) -> tuple[Settings, Pairing, Stack]:
    """The settings that plans give this role, by the planner's own code."""
    use_case = recipe.use_cases[0] if recipe.use_cases else "chat"
    pairing = resolved(catalog, recipe.variant, the_server(recipe, catalog), use_case, mode=recipe.mode)
    stack, placed = the_stack(recipe, pairing), recipe.roles[role]
    placement = Placement(placed.layout, placed.nodes, placed.layout.devices // placed.nodes)
    evaluator = Evaluator(pairing, stack, cast("Any", None), 0, role)
    context = evaluator.context(placement)
    if {*LEDGER_FIELDS[:4]} <= {*stack.engine.fields}:
        return evaluator.settings(context, placement, (name, recipe)), pairing, stack
    settings = apply_rules(in_order(stack.engine.rules), context, stack.engine_name)
    put_set(settings, placed.set, Origin("recipe", name, recipe.title, recipe.sources[0]))
    return settings, pairing, stack


def leaves(flags: Mapping[str, Any], env: Mapping[str, Any]) -> dict[Key, Any]:
    """A command in one spelling: nested keys, dashes in names, numbers as numbers."""
    found: dict[Key, Any] = {}
    for written, value in flags.items():
        name, *inner = SAME.get(written, written).split(".")
        put(found, ("flags", re.sub(r"(?<!^)(?<!^-)_", "-", name), *inner), plain(value))
    for name, value in env.items():
        found["env", name] = str(value).removesuffix(f":${name}")  # prepends to what the image has
    return found


def put(found: dict[Key, Any], key: Key, value: Any) -> None:
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            put(found, (*key, name), plain(inner))
    else:
        found[key] = value


def plain(value: Any) -> Any:
    """The same value however it is quoted."""
    if isinstance(value, str):
        if value in ("True", "true", "False", "false"):
            return value in ("True", "true")
        if re.fullmatch(r"-?\d+(\.\d+)?|\{.*\}|\[.*\]", value, re.DOTALL):
            return json.loads(value)
    return [plain(item) for item in value] if isinstance(value, list) else value


def documented_role(row: Mapping[str, Any], role: str) -> dict[str, Any]:
    """A role of the document; hosts that are written out one by one are one role, seen at its first host."""
    found = row["roles"].get(role) or row["roles"]["node0"]
    sizes = found["parallelism"]
    flags = {k: sizes[RESOLVED[v]] if isinstance(v, str) and v in RESOLVED else v for k, v in found["flags"].items()}
    return {**found, "flags": flags}


def compare(name: str, row: Mapping[str, Any], recipe: RecipeSpec, catalog: Catalog) -> Comparison:
    excuses = {d.key for d in recipe.differences if d.key.startswith(("flags.", "env."))}
    listed, unexplained, refused = list[str](), list[str](), list[str]()
    used: set[str] = set()
    if not recipe.servers and not recipe.chips:
        return Comparison(name, row["evidence"], (), ("no profile of the hardware",), (), ())
    for role in recipe.roles:
        settings, pairing, stack = derived(name, recipe, role, catalog)
        refused += [f"{role}: {r.message}" for r in unknown_flags(pairing, stack, settings.flags)]
        given = documented_role(row, role)
        ours, theirs = leaves(settings.flags, settings.env), leaves(given["flags"], given.get("env") or {})
        for key in sorted(ours.keys() | theirs.keys()):
            if ours.get(key) == theirs.get(key) or on_purpose(key, ours, theirs, recipe, role, stack.engine):
                continue
            excuse = next((e for e in excuses if e in covering(key, role)), None)
            message = f"{role} {'.'.join(key)}: documented {theirs.get(key)!r}, derived {ours.get(key)!r}"
            if excuse:
                used.add(excuse)
                listed += [excuse] if excuse not in listed else []
            else:
                unexplained.append(message)
    return Comparison(
        name, row["evidence"], tuple(listed), tuple(unexplained), tuple(sorted(excuses - used)), tuple(refused)
    )


def covering(key: Key, role: str) -> Iterator[str]:
    """Keys of a difference that speak of this key: itself, the flag it is part of, and both for one role."""
    for length in range(2, len(key) + 1):
        yield ".".join(key[:length])
        yield f"{key[0]}.{role}.{'.'.join(key[1:length])}"


def on_purpose(
    key: Key, ours: Mapping[Key, Any], theirs: Mapping[Key, Any], recipe: RecipeSpec, role: str, engine: EngineSpec
) -> bool:
    """Values of the site and the ledger, what is added to every command, and a pod's place in its group."""
    name, silent = key[1], key not in theirs
    ledger = {engine.fields[f].flag.replace("_", "-"): f for f in LEDGER_FIELDS if f in engine.fields}
    if name in ledger:
        return silent or ledger[name] in SITE_FIELDS
    if name in ADDED:
        return silent or name == "--host"
    if silent:
        return False
    return name in POD or (
        key not in ours
        and (left_out(name, theirs[key], engine) or in_group(name, theirs[key], recipe.roles[role], engine))
    )


def left_out(name: str, value: Any, engine: EngineSpec) -> bool:
    """What plans leave out because the engine takes it by itself, such as one rank."""
    return any(f.flag == name and f.omit_when is not None and f.omit_when == value for f in engine.fields.values())


def in_group(name: str, value: Any, role: RecipeRole, engine: EngineSpec) -> bool:
    """A process's place in its group: addresses and ranks come from the pod's environment, sizes must be the layout's."""
    multi = engine.multi_node
    if name in GROUP and str(value).startswith("$"):
        return True
    sizes = {"sizeLocal": role.layout.dp // role.nodes, "nodes": role.nodes}
    if multi and (size := next((size for key, size in sizes.items() if multi.flags.get(key) == name), None)):
        return bool(value == size)
    return multi is not None and name in {*multi.flags.values(), *multi.interface_env, *multi.address_env}


@pytest.fixture(scope="module")
def compared(catalog: Catalog) -> dict[str, Comparison]:
    return {
        name: compare(name, row, catalog.recipes[name], catalog)
        for name, row in rows().items()
        if name in catalog.recipes
    }


def test_every_documented_command_has_a_recipe(catalog: Catalog) -> None:
    assert sorted(rows().keys() - {*catalog.recipes}) == []


def test_the_table(compared: dict[str, Comparison]) -> None:
    """Seen with `pytest -s`."""
    print()
    for c in compared.values():
        print(
            f"{c.name:44} {c.evidence:26} {c.verdict:34} {c.unexplained[0] if c.unexplained else ', '.join(c.listed)}"
        )
    counts = Counter((c.evidence, c.verdict) for c in compared.values())
    for (evidence, verdict), count in sorted(counts.items()):
        print(f"{evidence:26} {verdict:34} {count}")
    assert compared


def test_commands_are_reproduced(compared: dict[str, Comparison]) -> None:
    missed = {c.name: c.unexplained[0] for c in compared.values() if c.unexplained and c.evidence in HELD}
    assert {name: why for name, why in missed.items() if name not in NOT_YET} == {}


def test_the_list_of_what_is_not_reproduced_shrinks(compared: dict[str, Comparison]) -> None:
    assert [name for name in NOT_YET if name not in compared or not compared[name].unexplained] == []


def test_listed_differences_are_differences(compared: dict[str, Comparison]) -> None:
    assert {c.name: c.stale for c in compared.values() if c.stale} == {}


def test_derived_commands_are_known_to_their_version(compared: dict[str, Comparison]) -> None:
    assert {c.name: c.refused for c in compared.values() if c.refused} == {}


def test_evidence_and_checkpoint_are_the_documents(catalog: Catalog) -> None:
    for name, row in rows().items():
        if name in catalog.recipes:
            recipe = catalog.recipes[name]
            assert recipe.evidence == row["evidence"], name
            assert recipe.mode == ("disaggregated" if row["mode"] == "pd" else "aggregated"), name
            if "/" in row["checkpoint"] and "$" not in row["checkpoint"]:
                assert recipe.checkpoint == row["checkpoint"], name


def test_images_are_the_documented_ones_or_listed(catalog: Catalog) -> None:
    unlisted = {}
    for name, row in rows().items():
        recipe = catalog.recipes[name]
        if not recipe.servers and not recipe.chips:
            continue
        pairing = resolved(catalog, recipe.variant, the_server(recipe, catalog), mode=recipe.mode)
        images = the_stack(recipe, pairing).version.images
        pinned = [images[family] for family in pairing.chip.families if family in images]
        listed = "image" in {d.key for d in recipe.differences}
        if (row["image"] in pinned) == listed:
            unlisted[name] = (row["image"], pinned, listed)
    assert unlisted == {}


def test_a_changed_value_is_seen(catalog: Catalog) -> None:
    """The comparison is not blind: each recipe that sets something is not reproduced without it."""
    blind = []
    for name, row in rows().items():
        recipe = catalog.recipes[name]
        ledger = {field.flag for f, field in catalog.engines[recipe.engine].fields.items() if f in LEDGER_FIELDS}
        documented = [documented_role(row, role) for role in recipe.roles]
        given = {f for role in recipe.roles.values() for f, value in role.set.flags.items() if value is not None}
        if given - ledger and any(role.get("flags") for role in documented) and (recipe.servers or recipe.chips):
            roles = {key: role.model_copy(update={"set": Set()}) for key, role in recipe.roles.items()}
            if not compare(name, row, recipe.model_copy(update={"roles": roles}), catalog).unexplained:
                blind.append(name)
    assert blind == []


def test_the_named_groups_are_used() -> None:
    documented = {name for row in rows().values() for role in row["roles"].values() for name in role.get("env") or {}}
    assert sorted(POD.keys() - documented) == []
