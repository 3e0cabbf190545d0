"""Convert a native checkpoint (FP8 blocks, FP4 groups) to BF16, one shard at a time; resumable."""

import json
import os
import shutil
import sys
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file

FP8_BLOCK = 128
FP4_GROUP = 32
DROPPED = tuple(["mtp."])
FP4_VALUES = torch.tensor([0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, -0.0, -0.5, -1.0, -1.5, -2.0, -3.0, -4.0, -6.0])


def scale_of(raw):
    """Scales as float32; E8M0 bytes are powers of two."""
    if raw.dtype == torch.uint8 or "float8_e8m0" in str(raw.dtype):
        return torch.exp2(raw.view(torch.uint8).float() - 127)
    return raw.float()


def from_fp4(packed, scale):
    """Two values in a byte, low half first; one scale for each group of a row."""
    codes = packed.view(torch.uint8)
    values = FP4_VALUES[torch.stack((codes & 15, codes >> 4), dim=-1).long()].flatten(-2)
    return (values * scale_of(scale).repeat_interleave(FP4_GROUP, dim=-1)[..., : values.shape[-1]]).bfloat16()


def from_fp8(weight, scale):
    """One scale for each square block."""
    rows, columns = weight.shape
    wide = scale_of(scale).repeat_interleave(FP8_BLOCK, 0)[:rows].repeat_interleave(FP8_BLOCK, 1)[:, :columns]
    return (weight.float() * wide).bfloat16()


def converted(name, get, names):
    """The tensor in BF16, or as it is where it carries no scale."""
    tensor = get(name)
    scale = name.removesuffix("weight") + "scale"
    if not name.endswith(".weight") or scale not in names:
        return tensor
    if tensor.dtype in (torch.int8, torch.uint8):
        return from_fp4(tensor, get(scale))
    return from_fp8(tensor, get(scale))


def main(source, target):
    """Every shard of `source` to `target`, then index and configuration."""
    target.mkdir(parents=True, exist_ok=True)
    index = json.loads((source / "model.safetensors.index.json").read_text())["weight_map"]
    where = {name: source / shard for name, shard in index.items()}
    weight_map, total = {}, 0

    def get(name):
        with safe_open(where[name], framework="pt") as shard:
            return shard.get_tensor(name)

    for shard in sorted(set(index.values())):
        names = [n for n in index if index[n] == shard and not n.startswith(DROPPED) and not is_scale(n, index)]
        done = target / shard
        if not done.exists():
            partial = done.with_suffix(".partial")
            save_file({name: converted(name, get, index) for name in names}, str(partial))
            os.replace(partial, done)
        weight_map |= dict.fromkeys(names, shard)
        total += done.stat().st_size
        print(shard, len(names), "tensors", flush=True)
    for file in source.iterdir():
        if (
            file.is_file()
            and file.suffix not in (".safetensors",)
            and not file.name.endswith(".index.json")
            and file.name != "config.json"
        ):
            shutil.copy2(file, target / file.name)
    config = json.loads((source / "config.json").read_text())
    config.pop("quantization_config", None)
    config.pop("expert_dtype", None)
    config["torch_dtype"] = "bfloat16"
    (target / "config.json").write_text(json.dumps(config, indent=2))
    (target / "model.safetensors.index.json").write_text(
        json.dumps({"metadata": {"total_size": total}, "weight_map": weight_map})
    )


def is_scale(name, names):
    """A scale that stands beside a weight."""
    return name.endswith(".scale") and name.removesuffix("scale") + "weight" in names


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
