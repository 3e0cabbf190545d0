"""A plan as plain data: the machine-readable plan, and all that `explain` needs beside the manifests."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from stowplan.diagnostics import Diagnostic, Location, Refused
from stowplan.fit.weights import weights
from stowplan.located_yaml import read_file
from stowplan.plan.choice import loses_by, verdict_of
from stowplan.plan.cost import cost
from stowplan.plan.images import built_with, engine_image
from stowplan.plan.layouts import Placement
from stowplan.plan.model import Candidate, Plan, Reason, Role
from stowplan.plan.planner import replicas
from stowplan.plan.quantization import decision, quantization, toolchain
from stowplan.profiles.engine import Build
from stowplan.profiles.kinds import API_VERSION

_ALTERNATIVES = 8


def plan_document(plan: Plan) -> dict[str, Any]:
    """The plan in the stable shape of `stowplan plan -o json`."""
    spec, site = plan.pairing.spec, plan.pairing.site
    document: dict[str, Any] = {
        "apiVersion": API_VERSION,
        "kind": "Plan",
        "pairing": {
            "name": plan.pairing.name,
            "variant": spec.variant,
            "server": spec.server,
            "useCase": spec.use_case,
            "site": spec.site,
            "kubernetes": site.kubernetes,
            "replicas": replicas(plan),
        },
        "verdict": plan.verdict,
        "sources": list(plan.sources),
        "assumptions": list(plan.assumptions),
        "reasons": [_reason(reason) for reason in plan.reasons],
    }
    if plan.layer is not None:
        document["deviceLayer"] = {
            "name": plan.layer.name,
            "version": plan.layer.spec.version,
            "resourceName": plan.layer.server.resource,
            "privileges": {name: dict(c.reasons) for name, c in plan.layer.spec.components.items() if c.reasons},
        }
        if mode := site.device_layer_modes.get(plan.layer.name):
            document["deviceLayer"]["mode"] = mode
    if plan.chosen is not None:
        document |= _chosen(plan, plan.chosen)
    return document


def as_told(plan: Plan) -> Plan:
    """The plan with no more candidates than its document names: of a thousand plans, the others fill a machine's memory."""
    return replace(plan, candidates=plan.candidates[: _ALTERNATIVES + 1])


def read_plan(path: Path) -> dict[str, Any]:
    """The document of a rendered `plan.yaml`.

    Raises:
        Refused: the file cannot be read, or is no plan.
    """
    documents = read_file(path)
    data = documents[0].data if documents else None
    data = data if isinstance(data, dict) else {}
    shape = {"pairing": dict, "verdict": str, "reasons": list, "assumptions": list, "sources": list}
    ours = data.get("apiVersion") == API_VERSION and data.get("kind") == "Plan"
    if not ours or not all(isinstance(data.get(key), kind) for key, kind in shape.items()):
        message = "is not a plan that stowplan rendered"
        raise Refused(
            [Diagnostic("P018", message, Location(str(path)), hint="render the pairing again")], unreadable=True
        )
    return data


def candidate_documents(plan: Plan) -> list[dict[str, Any]]:
    """Every layout that was considered, best first, each with its rank and what it loses by."""
    base = plan_document(plan)
    documents = []
    for rank, candidate in enumerate(plan.candidates, start=1):
        chosen = plan.chosen or candidate
        documents.append(
            base
            | _chosen(plan, candidate, brief=True)
            | {
                "verdict": verdict_of(candidate, plan.pairing),
                "rank": rank,
                "reasons": [_reason(reason) for reason in candidate.reasons],
                "losesBy": "" if candidate is plan.chosen else loses_by(candidate, chosen, plan.pairing),
            }
        )
    return documents


def digest(document: dict[str, Any]) -> str:
    """Short digest of a plan, for annotations."""
    text = json.dumps(document, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _reason(reason: Reason) -> dict[str, Any]:
    return {"code": reason.code, "message": reason.message, **reason.numbers}


def _chosen(plan: Plan, candidate: Candidate, *, brief: bool = False) -> dict[str, Any]:
    stack, pairing = candidate.stack, plan.pairing
    made_by, built = toolchain(pairing, stack), build(plan, candidate)
    decided: dict[str, Any] = {"decision": decision(stack), "toolchain": made_by[0] if made_by else None}
    if not brief:
        decided = quantization(pairing, candidate)
    document: dict[str, Any] = {
        "checkpoint": {
            "id": stack.checkpoint.id,
            "quantization": stack.checkpoint.format,
            "bytes": checkpoint_bytes(plan, candidate),
            "revision": revision(plan, candidate),
        },
        "quantization": decided,
        "engine": {
            "name": stack.engine_name,
            "version": stack.version.version,
            "image": image(plan, candidate),
            "libraries": dict(built.libraries) if built else {},
            "driver": (built.driver or None) if built else None,
        },
        "recipe": candidate.recipe[0] if candidate.recipe else None,
        "roles": [_role(plan, candidate, role) for role in candidate.roles],
    }
    if not brief:
        document["decisions"] = _decisions(candidate)
        for key, side in (("ledger", "lines"), ("hostLedger", "host_lines")):
            document[key] = [
                {"role": role.name, **asdict(line)} for role in candidate.roles for line in getattr(role.fit, side)
            ]
        document["alternatives"] = [
            _alternative(plan, other, candidate) for other in plan.candidates[1 : _ALTERNATIVES + 1]
        ]
    return document


def image(plan: Plan, candidate: Candidate) -> str:
    """The engine's image for the chip: the site's own, else the catalogue's behind the site's mirror; empty: none."""
    stack = candidate.stack
    return engine_image(plan.pairing.chip, plan.pairing.site, stack.engine_name, stack.version)


def build(plan: Plan, candidate: Candidate) -> Build | None:
    """What the image was built with; none of an image that the site names."""
    stack = candidate.stack
    return built_with(plan.pairing.chip, plan.pairing.site, stack.engine_name, stack.version)


def revision(plan: Plan, candidate: Candidate) -> str | None:
    """The commit to download (of the native checkpoint, where one is converted): the site's pin, else the catalogue's."""
    checkpoint = candidate.stack.checkpoint
    if checkpoint.converted:
        checkpoint = plan.pairing.variant.native
    return plan.pairing.site.weights.revisions.get(checkpoint.id, checkpoint.revision)


def checkpoint_bytes(plan: Plan, candidate: Candidate) -> int:
    """Bytes of the checkpoint on disk: published where exactly known, else from the shapes."""
    size = candidate.stack.checkpoint.size
    if size and size.exact:
        return size.bytes
    return weights(plan.pairing.architecture, candidate.stack.checkpoint, candidate.stack.checkpoint.draft).total


def _role(plan: Plan, candidate: Candidate, role: Role) -> dict[str, Any]:
    fit, mean = role.fit, plan.pairing.use_case.mean_request
    limit = plan.pairing.variant.max_context.value or fit.tuning.max_model_len
    bands = candidate.estimate
    return {
        "name": role.name,
        "replicas": replicas(plan) * role.instances,
        **_place(role.placement),
        "flags": role.settings.flags,
        "env": role.settings.env,
        "memory": {
            "device": {
                "total": fit.device_bytes,
                "reserved": fit.reserved,
                "weights": {**dict(sorted(fit.weights.items())), "total": fit.weights_total},
                "kvCache": fit.capacity.kv_cache_bytes,
                "activations": fit.activations,
                "graphs": fit.graphs,
                "communication": fit.communication,
                "overhead": fit.overhead,
                "free": fit.free,
            },
            "host": {
                "pinned": fit.host_pinned,
                "sharedMemory": fit.host_shared,
                "total": fit.host_pinned + fit.host_shared + fit.host_process,
            },
        },
        "capacity": {
            "scope": "dp-rank",
            "kvCacheBytes": fit.capacity.kv_cache_bytes,
            "logTokens": fit.capacity.log_tokens,
            "concurrencyAtMaxModelLen": round(fit.capacity.concurrency, 2),
            "requestsAtUseCase": round(fit.requests(mean), 1),
            "longestContext": fit.longest_context(limit),
            "maxModelLen": fit.tuning.max_model_len,
        },
        "estimate": None
        if bands is None
        else {
            "ttftMs": list(bands.ttft_ms),
            "tpotMs": list(bands.tpot_ms),
            "outputTokensPerSecondPerDevice": list(bands.output_tokens_per_second_per_device),
            "concurrency": bands.concurrency,
            **cost(plan.pairing, bands),
        },
        "headroom": round(candidate.headroom, 2),
        "misses": list(candidate.misses),
    }


def _decisions(candidate: Candidate) -> list[dict[str, Any]]:
    return [
        {
            "key": key if len(candidate.roles) == 1 else f"{role.name}.{key}",
            "value": value,
            "setBy": f"{origin.kind} {origin.name}",
            "reason": origin.reason,
            "source": origin.source,
        }
        for role in candidate.roles
        for key, value, origin in role.settings.origins()
    ]


def _alternative(plan: Plan, other: Candidate, chosen: Candidate) -> dict[str, Any]:
    return {
        "checkpoint": other.stack.checkpoint.id,
        "roles": [{"name": role.name, "instances": role.instances, **_place(role.placement)} for role in other.roles],
        "losesBy": loses_by(other, chosen, plan.pairing),
    }


def _place(placement: Placement) -> dict[str, Any]:
    """Hosts and devices of one instance, and how it is split."""
    layout = placement.layout
    return {
        "nodes": placement.nodes,
        "devicesPerNode": placement.devices_per_node,
        "parallelism": {"tp": layout.tp, "dp": layout.dp, "ep": layout.ep, "pp": layout.pp},
    }
