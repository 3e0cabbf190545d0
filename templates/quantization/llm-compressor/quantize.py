"""Run a recipe on a BF16 checkpoint: one decoder layer at a time, calibrated on chats in the model's own format."""

import sys

from datasets import load_dataset
from llmcompressor import oneshot
from llmcompressor.utils import load_context
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.models.deepseek_v4.modeling_deepseek_v4 import DeepseekV4PreTrainedModel

DATASET, SPLIT = {{policy.settings.dataset}}, {{policy.settings.split}}
SAMPLES, LENGTH = {{policy.settings.samples}}, {{policy.settings.length}}
LAYER, HOST_GIB = {{policy.settings.layer}}, {{policy.settings.hostGib}}
START, END = "<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>"
TURNS = {"system": "{}", "user": "<｜User｜>{}", "assistant": "<｜Assistant｜></think>{}" + END}


def chat(messages):
    """A conversation as text: the checkpoints carry no template for it."""
    return START + "".join(TURNS[turn["role"]].format(turn["content"]) for turn in messages if turn["role"] in TURNS)


def main(source, target, recipe, work):
    """Load, calibrate, quantize, save."""
    # the model class asks for norms in float32 and computes with them in bfloat16
    DeepseekV4PreTrainedModel._keep_in_fp32_modules_strict = set()
    with load_context():
        model = AutoModelForCausalLM.from_pretrained(
            source, device_map="auto_offload", max_memory={"cpu": f"{HOST_GIB}GiB"}, offload_folder=f"{work}/offload"
        )
    tokenizer = AutoTokenizer.from_pretrained(source)
    rows = load_dataset(DATASET, split=f"{SPLIT}[:{SAMPLES}]").shuffle(seed=42)
    tokens = rows.map(
        lambda row: tokenizer(chat(row["messages"]), max_length=LENGTH, truncation=True, add_special_tokens=False),
        remove_columns=rows.column_names,
    )
    oneshot(
        model=model,
        processor=tokenizer,
        dataset=tokens,
        recipe=recipe,
        max_seq_length=LENGTH,
        num_calibration_samples=SAMPLES,
        sequential_targets=[LAYER],
        batch_size=1,
    )
    model.save_pretrained(target, save_compressed=True)
    tokenizer.save_pretrained(target)


if __name__ == "__main__":
    main(*sys.argv[1:])
