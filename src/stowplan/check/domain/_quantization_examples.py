"""Quantization files in the shapes that programs read, good but for what is given."""

from __future__ import annotations

_PROCESS_LIST = """\
apiversion: {apiversion}
metadata: {{config_id: example, verified_model_types: [{model}]}}
spec:
  process:
    - type: linear_quant
      qconfig:
        act: {{scope: {act}, symmetric: true, method: minmax}}
        weight: {{scope: per_channel, dtype: {weight}, symmetric: true, method: minmax}}
      include: {include}
      exclude: ["*wq_a", "*wkv", "*wo_a", "*wgate", "*weights_proj"{exclude}]
    - type: linear_quant
      qconfig:
        act: {{scope: per_token, dtype: int8, symmetric: true, method: minmax}}
        weight: {{scope: per_channel, dtype: {experts}, symmetric: true, method: minmax}}
      include: {ffn}
      exclude: ["*gate"{shared}]
{more}"""
_SAVE = "  save: [{type: ascendv1_saver, part_file_size: 4}]\n"


def process_list(**changed: str) -> str:
    """Steps in order: attention, then experts."""
    good = {
        "apiversion": "modelslim_v1",
        "model": "DeepSeek-V4-Flash",
        "act": "per_token, dtype: int8",
        "weight": "int8",
        "include": '["*attn*"]',
        "exclude": "",
        "experts": "int8",
        "ffn": '["*ffn*"]',
        "shared": "",
        "more": _SAVE,
    }
    return _PROCESS_LIST.format(**{**good, **changed})


_GROUPS = """\
quantization_config:
  quant_method: compressed-tensors
  config_groups:
    attention:
      targets: ['{attention}']
      weights: {{num_bits: 8, type: float, strategy: block, block_structure: [128, 128]}}
      input_activations: {{num_bits: 8, type: float, strategy: {activation}, group_size: 128, dynamic: true}}
    experts:
      targets: ['{experts}']
      weights: {{num_bits: 4, type: float, strategy: tensor_group, group_size: 16}}
      input_activations: {{num_bits: 4, type: float, strategy: tensor_group, group_size: 16, dynamic: local}}
  ignore: [lm_head]
"""


def groups(**changed: str) -> str:
    """Groups of targets: attention, then experts."""
    good = {
        "attention": r"re:.*attn\.(q_a_proj|q_b_proj|kv_proj|o_a_proj|o_b_proj)$",
        "activation": "group",
        "experts": r"re:.*mlp\..*(gate|up|down)_proj$",
    }
    return _GROUPS.format(**{**good, **changed})


def plan_beside(server: str, engine: str) -> str:
    """As much of a plan as says which chip and engine a file is for."""
    pairing = f"{{variant: deepseek-v4-flash, server: {server}}}"
    return f"---\napiVersion: stowplan/v1\nkind: Plan\npairing: {pairing}\nengine: {{name: {engine}}}\n"
