"""Hand every rendered quantization file to the program that it is for, and really run one recipe on a tiny model.

    python tests/heavy/session.py FOLDER      (FOLDER keeps the environments, about 6 GB; a second run takes minutes)

Each program has an environment and a process of its own: they pin versions that exclude each other, and importing one of
them changes pydantic for the whole process. README.md beside this file says what the last run gave.
"""

from __future__ import annotations

import json
import subprocess
import sys
import venv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from test_quantization import made_by_policies, rendered  # noqa: E402
from test_quantization_files import BAD, PUBLISHED  # noqa: E402

from stowplan import resources  # noqa: E402
from stowplan.catalog import Catalog  # noqa: E402
from stowplan.fit.names import NATIVE, spell  # noqa: E402
from stowplan.render.quantization_rules import rules  # noqa: E402

TORCH = "torch==2.13.0"
ENVIRONMENTS: dict[str, list[list[str]]] = {
    "msmodelslim": [
        [
            TORCH,
            "transformers",
            "easydict",
            "einops",
            "wcmatch",
            "accelerate",
            "scipy",
            "pygtrie",
            "requests",
            "pyyaml",
        ],
        ["--no-deps", "msmodelslim==26.1.0"],
    ],
    "llm-compressor": [[TORCH, "llmcompressor==0.14.0.1"], ["--no-deps", "torchvision==0.28.0"]],
    "compressed-tensors": [[TORCH, "compressed-tensors==0.20.0"]],
    "modelopt": [[TORCH, "nvidia-modelopt==0.47.0", "requests", "huggingface_hub", "transformers"]],
}
READS = {
    "msmodelslim.yaml": "msmodelslim",
    "quantize-config.yaml": "msmodelslim",
    "recipe.yaml": "llm-compressor",
    "quantization_config.json": "compressed-tensors",
    "nvfp4-experts.yaml": "modelopt",
}
NONSENSE = {
    "msmodelslim": '{"spec": {"process": [{"type": "no_such_step"}]}}',
    "llm-compressor": "a_stage:\n  a_modifiers:\n    NoSuchModifier: {}\n",
    "compressed-tensors": '{"config_groups": {"a": {"targets": ["Linear"], "weights": {"strategy": "none such"}}}}',
    "modelopt": "quantize: {no_such_key: 1}\n",
}


def python(folder: Path, program: str) -> Path:
    """The interpreter of a program's environment, made when it is not there."""
    home = folder / program
    interpreter = home / "bin" / "python"
    if not (home / "complete").exists():
        venv.create(home, with_pip=True, clear=True)
        for packages in ENVIRONMENTS[program]:
            subprocess.run([interpreter, "-m", "pip", "install", "-q", *packages], check=True)
        (home / "complete").touch()
    return interpreter


def files(catalog: Catalog) -> Iterator[tuple[str, str, str]]:
    """Program, name and text of every file that the policies of the catalogue render to."""
    for variant, checkpoint in made_by_policies(catalog):
        if checkpoint.format == "bf16":
            continue
        for path, artifact in rendered(catalog, variant, checkpoint)[1].items():
            name = path.rpartition("/")[2]
            if path.startswith("quantization/") and name in READS:
                yield READS[name], f"{checkpoint.id} {name}", artifact.text


def reader(data: dict[str, Any]) -> str | None:
    """The program whose parser reads a file of the tests, where it is one of these."""
    nested = data.get("quantization_config", {})
    if "apiversion" in data:
        return "msmodelslim"
    if "quantize" in data:
        return "modelopt"
    return "compressed-tensors" if nested.get("config_groups") else None


def written(program: str, data: dict[str, Any]) -> str:
    """As the program's files are written: a recipe of ModelOpt has numbers for keys, which JSON has not."""
    return yaml.safe_dump(data) if program == "modelopt" else json.dumps(data)


def verdicts(interpreter: Path, program: str, texts: dict[str, str]) -> dict[str, str]:
    """What a program's parser says of each text; empty: it accepts it."""
    command = [interpreter, HERE / "parse.py", program]
    ended = subprocess.run(command, input=json.dumps(texts), text=True, capture_output=True, check=False)
    if ended.returncode:
        return dict.fromkeys(texts, f"the parser's process failed: {ended.stderr[-300:]}")
    said: dict[str, str] = json.loads(ended.stdout)
    return said


def parsers(folder: Path, catalog: Catalog) -> int:
    """Every file that is ours is accepted, nonsense is not; of the files that `check` refuses, which the vendor takes."""
    failed, ours = 0, list(files(catalog))
    for program in ENVIRONMENTS:
        interpreter = python(folder, program)
        own = {name: text for whose, name, text in ours if whose == program}
        published = {f"published: {n}": written(program, d) for n, d in PUBLISHED.items() if reader(d) == program}
        for name, said in verdicts(interpreter, program, own | published).items():
            print(f"{program:20} {'accepts' if not said else 'REFUSES'} {name} {said}")
            failed += bool(said)
        if not verdicts(interpreter, program, {"nonsense": NONSENSE[program]})["nonsense"]:
            print(f"{program:20} ACCEPTS nonsense: its verdicts mean nothing")
            failed += 1
        bad = {name: written(program, data) for name, (data, _, _) in BAD.items() if reader(data) == program}
        for name, said in verdicts(interpreter, program, bad).items():
            print(f"{program:20} {'lets through' if not said else 'refuses too'}: {name} {said}")
    return failed


def tiny_model(folder: Path, catalog: Catalog) -> int:
    """The rendered recipe on a model of four layers: the types of what is saved are those of the table by class."""
    variant, checkpoint = next(
        (v, c) for v, c in made_by_policies(catalog) if c.converted == "llm-compressor" and c.format == "nvfp4"
    )
    spec, architecture = catalog.quantizers["llm-compressor"], catalog.architecture(variant)
    policy = spec.policy(str(checkpoint.policy))
    assert policy
    table = []
    for scheme, rule in rules(architecture, None, spec, policy).items():
        for template in dict.fromkeys(module.template for module in rule.modules):
            names = [_pattern(spell(architecture, family, template)) for family in ("transformers", NATIVE)]
            table.append([names[0], rf"(model\.)?{names[1]}", scheme])
    recipe = rendered(catalog, variant, checkpoint)[1]["quantization/recipe.yaml"].text
    work = folder / "tiny"
    work.mkdir(exist_ok=True)
    ended = subprocess.run(
        [python(folder, "llm-compressor"), HERE / "tiny_model.py", work],
        input=json.dumps({"recipe": recipe, "table": table}),
        text=True,
        capture_output=True,
        check=False,
    )
    print(
        f"tiny model: exit {ended.returncode} {ended.stdout.splitlines()[-1:]}{ended.stderr[-500:] if ended.returncode else ''}"
    )
    return int(ended.returncode != 0)


def _pattern(template: str) -> str:
    text = template.replace(".", r"\.")
    return text.replace("{layer}", r"\d+").replace("{copy}", r"\d+")


def main() -> int:
    """Both parts; 1 where anything differs from what the rendered files promise."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    catalog = Catalog([resources.folder("profiles")])
    failed = parsers(folder, catalog) + tiny_model(folder, catalog)
    print(f"{failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
