"""In the environment of the recipe's program: quantize a tiny model with random weights, and look at what was saved.

python tiny_model.py FOLDER < job.json      (job: {"recipe": text, "table": [[in the model class, as saved, scheme], ...]})
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import torch
import vision_operators  # noqa: F401 - before whatever imports torchvision
from datasets import Dataset
from llmcompressor import oneshot
from llmcompressor.utils import load_context
from safetensors import safe_open
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import AutoModelForCausalLM, DeepseekV4Config, PreTrainedTokenizerFast
from transformers.models.deepseek_v4.modeling_deepseek_v4 import DeepseekV4ForCausalLM, DeepseekV4PreTrainedModel

LAYERS = ["compressed_sparse_attention", "heavily_compressed_attention"] * 2
TINY = {
    "vocab_size": 512,
    "hidden_size": 256,
    "num_hidden_layers": len(LAYERS),
    "layer_types": LAYERS,
    "mlp_layer_types": ["hash_moe", "moe", "moe", "moe"],
    "num_attention_heads": 4,
    "head_dim": 128,
    "q_lora_rank": 128,
    "o_groups": 2,
    "o_lora_rank": 128,
    "n_routed_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 128,
    "index_n_heads": 4,
    "index_head_dim": 64,
    "index_topk": 16,
    "sliding_window": 32,
    "max_position_embeddings": 1024,
    "partial_rotary_factor": 0.5,
    "num_nextn_predict_layers": 0,
}
SAVED = {
    "NVFP4": {
        "weight_packed": "U8",
        "weight_scale": "F8_E4M3",
        "weight_global_scale": "F32",
        "input_global_scale": "F32",
    },
    "FP8_BLOCK": {"weight": "F8_E4M3", "weight_scale": ("BF16", "F32")},
}
TOKENS, SAMPLES = 256, 4


def main(folder: Path) -> int:
    """Make, quantize, save, look, load again."""
    job = json.load(sys.stdin)
    torch.manual_seed(0)
    source, target, recipe = folder / "source", folder / "target", folder / "recipe.yaml"
    recipe.write_text(job["recipe"])
    DeepseekV4PreTrainedModel._keep_in_fp32_modules_strict = set()
    DeepseekV4ForCausalLM(DeepseekV4Config(**TINY)).to(torch.bfloat16).save_pretrained(source)
    with load_context():
        model = AutoModelForCausalLM.from_pretrained(source, device_map="cpu", dtype=torch.bfloat16)
    rows = {"input_ids": torch.randint(0, TINY["vocab_size"], (SAMPLES, TOKENS)).tolist()}
    rows["attention_mask"] = [[1] * TOKENS] * SAMPLES
    words = Tokenizer(WordLevel({f"w{i}": i for i in range(TINY["vocab_size"])}, unk_token="w0"))  # noqa: S106
    oneshot(
        model=model,
        processor=PreTrainedTokenizerFast(tokenizer_object=words, pad_token="w0"),  # noqa: S106
        dataset=Dataset.from_dict(rows),
        recipe=str(recipe),
        max_seq_length=TOKENS,
        num_calibration_samples=SAMPLES,
        sequential_targets=["DeepseekV4DecoderLayer"],
        batch_size=1,
    )
    names = [name for name, _ in model.named_modules()]
    model.save_pretrained(target, save_compressed=True)
    problems = [*unmatched(names, job["table"]), *wrong(saved(target), job["table"])]
    with load_context():
        again = AutoModelForCausalLM.from_pretrained(target, device_map="cpu")
    logits = again(input_ids=torch.tensor([list(range(64))])).logits
    if not torch.isfinite(logits).all():
        problems.append("the model that was loaded again gives numbers that are not finite")
    kinds = sorted({key.rpartition(".")[2] for key in saved(target)})
    print(json.dumps({"problems": problems, "tensors": len(saved(target)), "kinds": kinds}))
    return 1 if problems else 0


def unmatched(names: list[str], table: list[list[str]]) -> list[str]:
    """Rows of the table that name no module of the real model class."""
    missing = (pattern for pattern, _, _ in table if not any(re.fullmatch(pattern, name) for name in names))
    return [f"the model class has no module {pattern}" for pattern in missing]


def saved(folder: Path) -> dict[str, str]:
    """Tensor to its type, as the header says."""
    found = {}
    for shard in sorted(folder.glob("*.safetensors")):
        with safe_open(shard, framework="pt") as opened:
            found |= {key: opened.get_slice(key).get_dtype() for key in opened.keys()}  # noqa: SIM118
    return found


def wrong(types: dict[str, str], table: list[list[str]]) -> list[str]:
    """Tensors whose type is not what the table says, and rows for which nothing was saved."""
    problems = []
    for _, pattern, scheme in table:
        modules = {key.rpartition(".")[0] for key in types if re.fullmatch(pattern, key.rpartition(".")[0])}
        if not modules:
            problems.append(f"nothing was saved for {pattern}")
        for module in sorted(modules):
            for part, wanted in SAVED.get(scheme, {"weight": ("BF16", "F32")}).items():
                found = types.get(f"{module}.{part}")
                if found not in ((wanted,) if isinstance(wanted, str) else wanted):
                    problems.append(f"{module}.{part} is {found}, and {scheme} wants {wanted}")
    return problems


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
