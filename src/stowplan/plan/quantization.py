"""The quantization decision of a stack: native, published or to be converted, by what policy, and the table by class."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from stowplan.fit.weights import TensorGroup, weights
from stowplan.pairing import Pairing
from stowplan.plan.model import Candidate, Stack
from stowplan.plan.precision import execution, expanded_scores, loader_of, refused_formats
from stowplan.plan.reading import refused_weights, unread_by
from stowplan.plan.stacks import formats_here, stack_context
from stowplan.profiles.accuracy import Accuracy
from stowplan.profiles.quantizer import KEEPS, Policy, QuantizerSpec
from stowplan.profiles.variant import Checkpoint

Toolchain = tuple[str, QuantizerSpec, Policy]
_PLAIN = frozenset({"bf16", "f32", "int64"})


def decision(stack: Stack) -> str:
    """`native`, `published` or `convert`."""
    if stack.checkpoint.converted:
        return "convert"
    return "native" if stack.checkpoint.format == "native" else "published"


def toolchain(pairing: Pairing, stack: Stack) -> Toolchain | None:
    """The program and policy that make this checkpoint from the native one, where both are known."""
    return made_with(pairing, stack.checkpoint)


def made_with(pairing: Pairing, checkpoint: Checkpoint) -> Toolchain | None:
    """The program and policy that a checkpoint names."""
    name = checkpoint.converted or checkpoint.made_by
    if name is None or checkpoint.policy is None:
        return None
    spec = pairing.catalog.quantizers[name]
    policy = spec.policy(checkpoint.policy)
    return (name, spec, policy) if policy else None


def said_of(policy: Policy, tensor_class: str, part: str, *, unnamed: str) -> str:
    """What a policy says of a part: a scheme, or that it is kept."""
    return policy.classes.get(f"{tensor_class}.{part}") or policy.classes.get(tensor_class) or unnamed


def reads(pairing: Pairing, policy: Policy) -> Checkpoint:
    """The checkpoint that a policy starts from."""
    given = pairing.variant.checkpoint(policy.reads) if policy.reads else None
    return given or pairing.variant.native


def quantization(pairing: Pairing, candidate: Candidate) -> dict[str, Any]:
    """All of the decision, as plain data."""
    stack, kept = candidate.stack, candidate.roles[0].fit.kv_format
    made_by = toolchain(pairing, stack)
    entries = pairing.architecture.kv
    return {
        "decision": decision(stack),
        "toolchain": made_by[0] if made_by else stack.checkpoint.made_by,
        "policy": made_by[2].id if made_by else None,
        "kvCache": {
            "main": kept.main,
            "mainEntryBytes": entries.main[kept.main].value if kept.main in entries.main else None,
            "index": kept.index,
            "indexEntryBytes": entries.index[kept.index].value if kept.index in entries.index else None,
            "reason": kept.reason,
            "source": kept.source,
            "accuracy": [_score(score) for score in kept.accuracy],
        },
        "serve": {
            role.name: {f: v for f, v in role.settings.flags.items() if f in stack.engine.precision_flags}
            for role in candidate.roles
        },
        "accuracy": _accuracy(stack.checkpoint, made_by, expanded_scores(pairing, stack)),
        "refused": list(refused_formats(pairing, stack)),
        "alternatives": list(_alternatives(pairing, stack)),
        "classes": list(classes(pairing, candidate)),
    }


def _score(score: Accuracy) -> dict[str, Any]:
    before = {} if score.before is None else {"before": score.before}
    return {
        "benchmark": score.benchmark,
        "score": score.score,
        **before,
        "measuredOn": score.measured_on,
        "source": score.source,
    }


def _accuracy(checkpoint: Checkpoint, made_by: Toolchain | None, expanded: Sequence[Accuracy]) -> dict[str, Any]:
    """What it does to the answers: the weights are the same numbers, there are figures, or nobody published any."""
    if checkpoint.format == "native":
        return {"statement": "the weights as they were released", "figures": [_score(score) for score in expanded]}
    policy = made_by[2] if made_by else None
    figures = checkpoint.accuracy or (policy.accuracy if policy else ())
    said = [policy.lossless] if policy and policy.lossless else []
    if not figures:
        said.append("no published figure")
    return {"statement": "; ".join(said) or "published figures", "figures": [_score(score) for score in figures]}


def _alternatives(pairing: Pairing, stack: Stack) -> Iterator[dict[str, Any]]:
    """The variant's other checkpoints, whether the chip runs their formats, and how to get one."""
    for checkpoint in pairing.variant.checkpoints:
        if checkpoint.id == stack.checkpoint.id:
            continue
        no, unknown, notes = formats_here(checkpoint, pairing)
        context = stack_context(pairing, checkpoint, stack.version, checkpoint.draft)
        no_path, degraded = refused_weights(pairing, stack.engine, checkpoint, context)
        no, notes = [*no, *no_path], [*notes, *degraded]
        if unread := unread_by(pairing, stack.engine_name, stack.engine, checkpoint, context):
            unknown = [*unknown, unread]
        made_by = made_with(pairing, checkpoint)
        how = f"run {made_by[0]}, policy {made_by[2].id}" if checkpoint.converted and made_by else "published"
        verdict = "refused" if no else "unknown" if unknown else "fallback" if notes else "runs"
        said = [reason.message for reason in (*no, *unknown)] + notes
        because = f"{made_by[2].because}" if checkpoint.converted and made_by else ""
        yield {
            "checkpoint": checkpoint.id,
            "format": checkpoint.format,
            "how": "native" if checkpoint.format == "native" else how,
            "formats": verdict,
            "reason": "; ".join([*said, because] if because else said),
        }


def classes(pairing: Pairing, candidate: Candidate) -> Iterator[dict[str, Any]]:
    """One row for each class and part: native storage, storage here, how it runs, bytes, what set it, who reads it."""
    stack = candidate.stack
    native, made_by = pairing.variant.native, toolchain(pairing, stack)
    before = {
        (g.tensor_class, g.part, g.name, g.draft): g.storage
        for g in weights(pairing.architecture, native, stack.draft).groups
    }
    rows: dict[tuple[str, str, str], dict[str, Any]] = {}
    for group in weights(pairing.architecture, stack.checkpoint, stack.draft).groups:
        where = "draft" if group.draft else group.tensor_class
        row = rows.setdefault((where, group.part, group.storage), {})
        if not row:
            runs_as, kind = _runs_as(pairing, candidate, where, group)
            said = _said(made_by, where, group)
            row |= {
                "class": where,
                "part": group.part,
                "native": before.get((group.tensor_class, group.part, group.name, group.draft), group.storage),
                "storage": group.storage,
                "runsAs": runs_as,
                "execution": kind,
                "bytes": 0,
                "setBy": _set_by(stack.checkpoint, made_by, said),
                "readBy": _read_by(stack, pairing, group, said),
            }
        row["bytes"] += group.bytes
    yield from rows.values()


def _runs_as(pairing: Pairing, candidate: Candidate, where: str, group: TensorGroup) -> tuple[str, str]:
    """How a group is computed with under the settings of each role; the roles are named where they differ."""
    found = {
        role.name: execution(pairing, candidate.stack, where, group.part, group.storage, role.settings.flags)
        for role in candidate.roles
    }
    first, *others = dict.fromkeys(found.values())
    if not others:
        return first
    kind = next((kind for _, kind in found.values() if kind != "native"), "native")
    return "; ".join(f"{role}: {how}" for role, (how, _) in found.items()), kind


def _said(made_by: Toolchain | None, where: str, group: TensorGroup) -> str | None:
    """The policy's word on a group, where there is a policy and the group is one that it can touch."""
    if made_by is None or group.storage == "int64" or len(group.shape) < 2:  # noqa: PLR2004 - a matrix has two sides
        return None
    return said_of(made_by[2], where, group.part, unnamed="")


def _set_by(checkpoint: Checkpoint, made_by: Toolchain | None, said: str | None) -> str:
    if checkpoint.format == "native":
        return "the native checkpoint"
    if made_by is None:
        return f"checkpoint {checkpoint.id}"
    named = {"float": "kept in 16 bit", "source": "kept as the source has it"}.get(said or "", said)
    return f"{made_by[0]} policy {made_by[2].id}: {named or 'not named, kept'}"


def _read_by(stack: Stack, pairing: Pairing, group: TensorGroup, said: str | None) -> str:
    name = loader_of(pairing, stack)
    if group.storage in _PLAIN:
        return f"{stack.engine_name}, as it is"
    if name is None:
        return f"{stack.engine_name}, by the checkpoint's own configuration"
    return f"{stack.engine_name} {name}" + (f": {said}" if said and said not in KEEPS else "")
