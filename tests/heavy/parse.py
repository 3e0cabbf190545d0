"""In the environment of one vendor's program: hand files to its own parser.

python parse.py PROGRAM < files.json > verdicts.json      (files: {name: text}; verdicts: {name: "" or what it says})
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any


def _msmodelslim(text: str) -> None:
    import yaml
    from msmodelslim.core.practice import PracticeConfig
    from msmodelslim.core.quant_service.modelslim_v1.quant_config import ModelslimV1QuantConfig

    ModelslimV1QuantConfig.from_base(PracticeConfig.model_validate(yaml.safe_load(text)))


def _llm_compressor(text: str) -> None:
    import vision_operators  # noqa: F401 - before whatever imports torchvision
    from llmcompressor.recipe import Recipe

    for modifier in Recipe.create_instance(text).modifiers:
        _ = modifier.resolved_config


def _compressed_tensors(text: str) -> None:
    from compressed_tensors.quantization import QuantizationConfig

    data: dict[str, Any] = json.loads(text)
    QuantizationConfig.model_validate(data.get("quantization_config", data))


def _modelopt(text: str) -> None:
    from modelopt.recipe import load_recipe

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "recipe.yaml"
        path.write_text(text)
        load_recipe(str(path))


PARSERS: dict[str, Callable[[str], None]] = {
    "msmodelslim": _msmodelslim,
    "llm-compressor": _llm_compressor,
    "compressed-tensors": _compressed_tensors,
    "modelopt": _modelopt,
}


def main(program: str) -> None:
    """Verdicts of one program; whatever it prints itself goes to the other stream."""
    out, sys.stdout = sys.stdout, sys.stderr
    verdicts = {}
    for name, text in json.load(sys.stdin).items():
        try:
            PARSERS[program](text)
            verdicts[name] = ""
        except Exception as error:  # noqa: BLE001 - whatever a vendor raises is its verdict
            verdicts[name] = f"{type(error).__name__}: {error}"[:300]
    json.dump(verdicts, out)


if __name__ == "__main__":
    main(sys.argv[1])
