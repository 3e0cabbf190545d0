"""`stowplan log` holds real start-up logs against the plan: figures of public logs, lines written anew."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from conftest import Run, planned

from stowplan.catalog import Catalog
from stowplan.fit.units import GIB
from stowplan.plan.log_reading import Reading, decode, of_engine, read_log
from stowplan.plan.model import Candidate

MI = 2**20

VLLM = """\
(APIServer pid=57) INFO 07-12 02:33:24 [api_utils.py:339]   █▄█▀ █     █     █     █  model   deepseek-ai/DeepSeek-V4-Flash
(APIServer pid=57) INFO 07-12 02:33:24 [api_utils.py:339]  ▄▄ ▄█ █     █     █ ▀▄▀ █  version 0.25.0
(APIServer pid=57) INFO 07-12 02:33:24 [api_utils.py:273] non-default args: {'model_tag': 'deepseek-ai/DeepSeek-V4-Flash', 'host': '0.0.0.0', 'port': 15004, 'tokenizer_mode': 'deepseek_v4', 'trust_remote_code': True, 'max_model_len': 1048576, 'served_model_name': ['d4f'], 'tensor_parallel_size': 2, 'gpu_memory_utilization': 0.95, 'kv_cache_dtype': 'fp8', 'max_num_batched_tokens': 4096, 'max_num_seqs': 64, 'attention_config': AttentionConfig(backend=None, sizes=[1, 2]), 'speculative_config': {'method': 'mtp', 'num_speculative_tokens': 2}}
(Worker pid=514) INFO 07-12 02:33:38 [pynccl.py:113] vLLM is using nccl==2.28.9
(Worker_TP0 pid=514) INFO 07-12 02:34:00 [gpu_model_runner.py:5306] Model loading took 75.64 GiB memory and 20.219445 seconds
(Worker_TP1 pid=515) INFO 07-12 02:34:00 [gpu_model_runner.py:5306] Model loading took 75.63 GiB memory and 20.230000 seconds
(Worker_TP0 pid=514) INFO 07-12 02:35:26 [gpu_worker.py:538] Available KV cache memory: 10.29 GiB
(Worker_TP1 pid=515) INFO 07-12 02:35:26 [gpu_worker.py:538] Available KV cache memory: 10.30 GiB
(EngineCore pid=395) INFO 07-12 02:35:26 [kv_cache_utils.py:2146] GPU KV cache size: 1,993,100 tokens
(EngineCore pid=395) INFO 07-12 02:35:26 [kv_cache_utils.py:2147] Maximum concurrency for 1,048,576 tokens per request: 1.90x
"""
REFUSED = """\
(EngineCore pid=27395) ERROR 06-03 14:24:40 [core.py:1165] ValueError: To serve at least one request with the model's max seq len (30000), (6.66 GiB KV cache is needed, which is larger than the available KV cache memory (5.44 GiB). Based on the available memory, the estimated maximum model length is 13528. Try increasing `gpu_memory_utilization`.
(EngineCore pid=27395) INFO nccl
"""
OLD_REFUSED = "ERROR nccl ValueError: To serve at least one request with the models's max seq len (131072), 24.00 GiB KV cache is needed, which is larger than the available KV cache memory (10.91 GiB). Based on the available memory, the estimated maximum model length is 59584."
SGLANG = """\
[2026-07-24 10:37:01] server_args=ServerArgs(model_path='/models/DeepSeek-V4-Pro', tp_size=8, dp_size=8, ep_size=8, mem_fraction_static=0.9, context_length=9472, max_running_requests=512, chunked_prefill_size=65536, swa_full_tokens_ratio=0.15, speculative_algorithm=None, cuda_graph_config=GraphConfig(bs=[1, 2]), host='0.0.0.0')
[2026-07-24 10:37:40 DP0 TP0 EP0] Load weight begin. avail mem=276.90 GB
[2026-07-24 10:39:10 DP0 TP0 EP0] Load weight end. elapsed=90.01 s, type=DeepseekV4ForCausalLM, quant=fp8, fmt=e4m3, avail mem=146.60 GB, mem usage=130.30 GB.
[2026-07-24 10:39:12 DP1 TP1 EP1] Load weight end. elapsed=92.01 s, type=DeepseekV4ForCausalLM, quant=fp8, fmt=e4m3, avail mem=146.61 GB, mem usage=130.29 GB.
[2026-07-24 10:39:20 DP0 TP0 EP0] DSV4 memory calculation: bytes_per_full_token=13735.04, available_bytes=118.93 GB, c128_state_fixed=1.01 GB, full_token=9217792
[2026-07-24 10:39:20 DP1 TP1 EP1] DSV4 memory calculation: bytes_per_full_token=13735.04, available_bytes=118.94 GB, c128_state_fixed=1.01 GB, full_token=9218048
[2026-07-24 10:39:40 DP0 TP0 EP0] max_total_num_tokens=9217792, chunked_prefill_size=8192, max_prefill_tokens=16384, max_running_requests=64, context_len=9472, available_gpu_mem=44.02 GB
"""
ASCEND = """\
INFO 06-21 07:16:52 [__init__.py:60] Platform plugin ascend is activated: vllm_ascend
(Worker_DP0_TP0 pid=88) INFO 06-21 07:18:09 [model_runner_v1.py:3571] Loading model weights took 36.5299 GB
(Worker_DP0_TP0 pid=88) INFO 06-21 07:19:09 [worker.py:571] Available KV cache memory: 14.00 GiB
(EngineCore_DP0 pid=70) INFO 06-21 07:19:10 [kv_cache_utils.py:1733] NPU KV cache size: 340,000 tokens
"""


def reading(catalog: Catalog, engine: str, text: str) -> Reading:
    patterns = catalog.engines[engine].log
    assert patterns
    return read_log(decode(text.encode()), patterns)


def test_the_figures_of_a_log_are_read_over_its_ranks(catalog: Catalog) -> None:
    found = reading(catalog, "vllm", VLLM)
    assert (found.starts, found.version, found.ranks) == (1, "0.25.0", 2)
    assert (found.weights_gib, found.cache_gib, found.tokens, found.concurrency) == (75.64, 10.29, 1_993_100, 1.9)
    assert found.refusal is None


def test_settings_are_read_past_objects(catalog: Catalog) -> None:
    arguments = reading(catalog, "vllm", VLLM).arguments
    assert arguments["--max-num-seqs"] == 64
    assert arguments["--speculative-config"] == {"method": "mtp", "num_speculative_tokens": 2}
    assert "--attention-config" not in arguments
    others = reading(catalog, "sglang", SGLANG).arguments
    assert (others["--mem-fraction-static"], others["--context-length"]) == (0.9, 9472)
    assert "--cuda-graph-config" not in others


def test_weights_of_draft_and_model_add_up_where_the_engine_prints_both(catalog: Catalog) -> None:
    draft = "[2026-09-11 23:45:53 DP0 TP0 EP0] Load weight end. elapsed=74.58 s, type=DeepseekV4ForCausalLMDSpark, avail mem=14.74 GB, mem usage=2.80 GB.\n"
    assert reading(catalog, "sglang", SGLANG).weights_gib == 130.30
    assert reading(catalog, "sglang", SGLANG + draft).weights_gib == pytest.approx(133.10)
    assert reading(catalog, "vllm", VLLM * 2).weights_gib == 75.64


def test_the_last_start_counts(catalog: Catalog) -> None:
    earlier = VLLM.replace("75.64", "60.00").replace("1,993,100", "5")
    found = reading(catalog, "vllm", earlier + "some restart\n" + VLLM)
    assert (found.starts, found.weights_gib, found.tokens) == (2, 75.64, 1_993_100)


@pytest.mark.parametrize(
    "worn",
    [
        lambda text: "".join(f"\x1b[1;36m{line[:20]}\x1b[0;0m{line[20:]}" for line in text.splitlines(keepends=True)),
        lambda text: text.replace("\n", "\r\n"),
        lambda text: "".join(f"2026-07-12T02:35:26.000Z stdout F {line}" for line in text.splitlines(keepends=True)),
        lambda text: "".join(f"vllm-0  | {line}" for line in text.splitlines(keepends=True)),
        lambda text: "﻿" + text,
    ],
    ids=["colours", "carriage returns", "container runtime", "compose", "byte order mark"],
)
def test_a_log_is_read_however_it_was_written_down(worn: Any, catalog: Catalog) -> None:
    assert reading(catalog, "vllm", worn(VLLM)) == reading(catalog, "vllm", VLLM)


def test_a_log_in_json_lines_or_sixteen_bits_is_read(catalog: Catalog) -> None:
    import json

    patterns = catalog.engines["vllm"].log
    assert patterns
    lines = "\n".join(json.dumps({"log": line + "\n", "stream": "stderr"}) for line in VLLM.splitlines())
    whole = reading(catalog, "vllm", VLLM)
    assert read_log(decode(lines.encode()), patterns) == whole
    assert read_log(decode(VLLM.encode("utf-16")), patterns) == whole


@pytest.mark.parametrize("end", [10, 300, 700, 1200, 1500])
def test_a_log_that_was_cut_is_read_as_far_as_it_goes(end: int, catalog: Catalog) -> None:
    for engine, text in (("vllm", VLLM), ("sglang", SGLANG), ("vllm-ascend", ASCEND)):
        found = reading(catalog, engine, text[:end])
        assert found.weights_gib is None or found.weights_gib > 0


@pytest.mark.parametrize(
    ("text", "needed", "available", "longest"),
    [(REFUSED, 6.66, 5.44, 13_528), (OLD_REFUSED, 24.0, 10.91, 59_584)],
)
def test_a_refusal_is_read_with_its_numbers(
    text: str, needed: float, available: float, longest: int, catalog: Catalog
) -> None:
    refusal = reading(catalog, "vllm", text).refusal
    assert refusal
    assert (refusal.needed_gib, refusal.available_gib, refusal.longest) == (needed, available, longest)


@pytest.mark.parametrize(
    ("engine", "line"),
    [
        ("vllm", "ValueError: No available memory for the cache blocks. Try increasing `gpu_memory_utilization`"),
        ("vllm", "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB"),
        ("vllm-ascend", "RuntimeError: NPU out of memory. Tried to allocate 2.00 GiB"),
        (
            "vllm",
            "ValueError: Free memory on device cuda:0 (70.1/79.2 GiB) on startup is less than desired GPU memory utilization (0.92, 72.86 GiB).",
        ),
        ("vllm", "(EngineCore_DP1 pid=131844) ERROR 05-12 11:58:13 [core.py:1099] EngineCore failed to start."),
        (
            "vllm-ascend",
            "(Worker_TP6_EP6 pid=12111) ERROR 09-05 14:20:48 [executor.py:888] WorkerProc failed to start.",
        ),
        ("vllm-mlu", "RuntimeError: Engine core initialization failed. See root cause above."),
        ("sglang", "[2026-07-24 10:37:40 TP0] Scheduler hit an exception: Traceback (most recent call last):"),
        ("sglang", "RuntimeError: Not enough memory. Please try to increase --mem-fraction-static."),
        ("sglang", "ValueError: Loaded weights leave no GPU memory for the KV cache under --mem-fraction-static=0.5."),
    ],
)
def test_a_failed_start_is_a_refusal(engine: str, line: str, catalog: Catalog) -> None:
    assert reading(catalog, engine, line).refusal


ASCEND_SUMMARY = """\
(Worker_DP1_EP1 pid=158388) INFO 08-05 01:45:32 [worker.py:758] Free memory on device (60.61/60.96 GiB) on startup. Desired GPU memory utilization is (0.9, 54.86 GiB). Actual usage: 47.4 GiB for weights, 0.21 GiB for peak activation, 0.22 GiB for non-torch memory, 0.79 GiB for NPU graph memory. Current KV cache memory: 7.03 GiB.
(Worker_DP5_EP5 pid=158386) INFO 08-05 01:45:32 [worker.py:758] Free memory on device (60.61/60.96 GiB) on startup. Desired GPU memory utilization is (0.9, 54.86 GiB). Actual usage: 47.3 GiB for weights, 0.21 GiB for peak activation, 0.22 GiB for non-torch memory, 0.78 GiB for NPU graph memory. Current KV cache memory: 7.04 GiB.
"""


def test_a_log_of_which_only_the_summary_is_left_is_read(catalog: Catalog) -> None:
    found = reading(catalog, "vllm-ascend", ASCEND_SUMMARY)
    assert (found.ranks, found.weights_gib, found.cache_gib, found.refusal) == (2, 47.4, 7.03, None)


@pytest.mark.parametrize(("engine", "text"), [("vllm", VLLM), ("sglang", SGLANG)])
def test_figures_do_not_hang_on_the_order_of_lines(engine: str, text: str, catalog: Catalog) -> None:
    """Processes of one engine write into one stream: only what starts first is sure."""
    begin = 3 if engine == "vllm" else 1
    lines = text.splitlines(keepends=True)
    backwards = "".join([*lines[:begin], *reversed(lines[begin:])])
    assert reading(catalog, engine, backwards) == reading(catalog, engine, text)


def test_logs_of_engines_are_told_apart(catalog: Catalog) -> None:
    for engine, text in (("vllm", VLLM), ("sglang", SGLANG), ("vllm-ascend", ASCEND)):
        patterns = catalog.engines[engine].log
        assert patterns and of_engine(text, patterns)
    ascend = catalog.engines["vllm-ascend"].log
    assert ascend and not of_engine(VLLM, ascend)
    assert reading(catalog, "vllm-ascend", ASCEND).weights_gib == 36.5299
    assert reading(catalog, "vllm-ascend", ASCEND).tokens == 340_000


def candidate(
    catalog: Catalog, variant: str, server: str, engine: str, layout: dict[str, int], flags: dict[str, Any]
) -> Candidate:
    """The plan of one start, its settings pinned."""
    pins = {f"flags.{flag}": value for flag, value in flags.items()}
    made = planned(catalog, variant, server, "long-context", engine=engine, layout=layout, nodes=1, set=pins)
    return made.chosen or made.candidates[0]


@pytest.mark.parametrize(
    ("variant", "server", "engine", "layout", "flags", "without_draft", "weights", "cache", "requests"),
    [
        ("deepseek-v4-flash", "rtx-pro-6000-8x", "vllm@0.25.0", (2, 1, 1), (MI, 4096, 0.95), False, 75.64, 10.29, 1.90),
        ("deepseek-v4-flash-0731", "hgx-b200", "vllm@0.25.0", (8, 1, 8), (MI, 8192, 0.95), False, None, None, 20.43),
        ("deepseek-v4-flash-0731", "hgx-b200", "vllm@0.25.0", (1, 8, 8), (MI, 8192, 0.95), False, None, None, 19.61),
        ("deepseek-v4-flash-vision-exp", "hgx-b300", "vllm@0.30.0", (2, 1, 1), (MI, 16384, 0.92), True, 74.28, 160.15, None),
        ("deepseek-v4-flash-0731", "hgx-h20", "vllm@0.26.0", (2, 1, 2), (121_344, 8192, 0.95), False, None, 7.71, 1.24),
    ],
    ids=["two RTX PRO 6000", "B200 tp 8", "B200 dp 8", "two B300", "two H20"],
)  # fmt: skip
def test_a_whole_plan_is_what_the_engine_logged(
    variant: str,
    server: str,
    engine: str,
    layout: tuple[int, int, int],
    flags: tuple[int, int, float],
    without_draft: bool,
    weights: float | None,
    cache: float | None,
    requests: float | None,
    catalog: Catalog,
) -> None:
    named = dict(zip(("--max-model-len", "--max-num-batched-tokens", "--gpu-memory-utilization"), flags, strict=True))
    found = (
        candidate(catalog, variant, server, engine, dict(zip(("tp", "dp", "ep"), layout, strict=True)), named)
        .roles[0]
        .fit
    )
    draft = found.weights["draft"] if without_draft else 0
    assert not found.shortfall
    if weights:
        assert (found.weights_total - draft) / GIB == pytest.approx(weights, rel=0.03)
    if cache:
        assert (found.capacity.available + draft) / GIB == pytest.approx(cache, rel=0.1)
    if requests:
        assert found.capacity.concurrency == pytest.approx(requests, rel=0.1)


def test_an_engine_that_did_not_start_is_planned_not_to(catalog: Catalog) -> None:
    flags = {"--max-model-len": 912_128, "--max-num-batched-tokens": 8192, "--gpu-memory-utilization": 0.95}
    fit = candidate(catalog, "deepseek-v4-flash-0731", "hgx-h20", "vllm@0.26.0", {"tp": 2, "ep": 2}, flags).roles[0].fit
    assert fit.shortfall  # vllm issue 51041: this length was too much, 121,344 tokens started
    assert 121_344 <= fit.longest_context(MI) < 912_128


def test_a_fraction_is_taken_of_what_is_free_before_loading(catalog: Catalog) -> None:
    """MI355X, five fractions: the cache grows by 276.9 GiB for each 1.0 of the fraction."""
    flags = {"--context-length": 9472, "--swa-full-tokens-ratio": 0.15, "--speculative-algorithm": None}
    fits = [
        candidate(
            catalog, "deepseek-v4-pro", "mi355x-8x", "sglang@0.5.14", {"tp": 1, "dp": 8, "ep": 8},
            {**flags, "--mem-fraction-static": fraction},
        ).roles[0].fit
        for fraction in (0.8, 0.92)
    ]  # fmt: skip
    slope = (fits[1].capacity.available - fits[0].capacity.available) / GIB / 0.12
    assert slope == pytest.approx(276.9, rel=0.001)
    # The log's engine drafts nothing; its line of weights counts all that loading allocates.
    draft = fits[0].weights["draft"] / GIB
    assert fits[0].capacity.available / GIB + draft == pytest.approx(91.24, rel=0.07)
    assert (fits[0].weights_total / GIB) - draft == pytest.approx(130.3, rel=0.05)
    for fit in fits:
        assert fit.reserved + fit.activations + fit.graphs == pytest.approx(
            (fit.device_bytes - fit.overhead - fit.communication) * (1 - fit.tuning.utilization), abs=1
        )


PAIRING = """\
apiVersion: stowplan/v1
kind: Pairing
metadata: {name: log-case}
spec:
  variant: deepseek-v4-flash
  server: rtx-pro-6000-8x
  useCase: long-context
  nodes: 1
  engine: vllm@0.25.0
  layout: {tp: 2, dp: 1, ep: 1}
  set:
    flags.--max-model-len: 1048576
    flags.--max-num-batched-tokens: 4096
    flags.--max-num-seqs: 64
    flags.--gpu-memory-utilization: 0.95
    flags.--speculative-config: {method: mtp, num_speculative_tokens: 2}
"""


@pytest.fixture
def pairing(tmp_path: Path) -> Path:
    file = tmp_path / "log-case.yaml"
    file.write_text(PAIRING)
    return file


def written(folder: Path, text: str | bytes) -> Path:
    file = folder / "engine.log"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return file


def test_a_log_that_agrees_ends_well(pairing: Path, tmp_path: Path, run: Run) -> None:
    ended = run("log", pairing, written(tmp_path, VLLM), "-o", "json")
    assert ended.code == 0, ended.out
    lines = {line["figure"]: line for line in ended.data}
    assert all(line["agrees"] for line in lines.values())
    rule = next(line for figure, line in lines.items() if figure.startswith("tokens that the rule gives"))
    assert abs(rule["difference"]) < 0.001


def test_a_difference_is_named_and_explained(pairing: Path, tmp_path: Path, run: Run) -> None:
    text = VLLM.replace("'max_num_seqs': 64", "'max_num_seqs': 32").replace("75.64", "85.64")
    ended = run("log", pairing, written(tmp_path, text), "-o", "json")
    assert ended.code == 1
    differing = {line["figure"]: line["explanation"] for line in ended.data if not line["agrees"]}
    assert differing["--max-num-seqs"] == "the engine was started otherwise"
    assert any(figure.startswith("weights") and "settings differ" in why for figure, why in differing.items())


def test_a_setting_that_only_one_gives_is_a_difference(pairing: Path, tmp_path: Path, run: Run) -> None:
    text = VLLM.replace("'max_num_seqs': 64, ", "").replace(
        "'tensor_parallel_size': 2", "'tensor_parallel_size': 2, 'data_parallel_size': 4"
    )
    ended = run("log", pairing, written(tmp_path, text), "-o", "json")
    differing = {line["figure"]: line["logged"] for line in ended.data if not line["agrees"]}
    assert (ended.code, differing) == (1, {"--max-num-seqs": "not given", "--data-parallel-size": 4})


def test_a_refused_start_is_set_beside_the_plan(pairing: Path, tmp_path: Path, run: Run) -> None:
    ended = run("log", pairing, written(tmp_path, REFUSED), "-o", "json")
    assert ended.code == 1
    lines = {line["figure"]: line for line in ended.data}
    assert lines["starts"]["planned"] == "yes" and lines["starts"]["logged"].startswith("no: ")
    assert "GiB for 1,048,576 tokens and has" in lines["starts"]["explanation"]
    assert lines["free for the cache, GiB"]["logged"] == 5.44
    assert lines["needed by one request of the maximum length, GiB"]["logged"] == 6.66


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (SGLANG, "is a log of sglang; the plan is for vllm"),
        (ASCEND, "is a log of vllm-ascend; the plan is for vllm"),
        ("", "holds none of the lines"),
        ("Mary had a little lamb\n" * 50, "holds none of the lines"),
        (bytes(range(256)) * 40, "holds none of the lines"),
    ],
    ids=["sglang", "ascend", "empty", "a poem", "bytes"],
)
def test_what_is_no_log_of_this_engine_is_refused(
    text: str | bytes, words: str, pairing: Path, tmp_path: Path, run: Run
) -> None:
    ended = run("log", pairing, written(tmp_path, text))
    assert ended.code == 2
    assert words in ended.err


def test_a_log_that_ends_before_the_cache_says_so(pairing: Path, tmp_path: Path, run: Run) -> None:
    ended = run(
        "log", pairing, written(tmp_path, VLLM.partition("(Worker_TP0 pid=514) INFO 07-12 02:35:26")[0]), "-o", "json"
    )
    lines = {line["figure"]: line for line in ended.data}
    assert lines["starts"]["logged"] == "the log does not say"
    assert "it was cut" in lines["starts"]["explanation"]


def test_a_file_that_is_not_there_is_unreadable(pairing: Path, tmp_path: Path, run: Run) -> None:
    assert run("log", pairing, tmp_path / "absent.log").code == 2
    assert run("log", pairing, tmp_path).code == 2


def test_the_ledger_is_explained_with_its_formulas(pairing: Path, run: Run) -> None:
    ended = run("explain", pairing, "ledger", "-o", "json")
    assert ended.code == 0
    device = {row["part"]: row for row in ended.data["Device memory"]}
    assert device["weights: routed_experts"]["formula"] == "137.062 GiB / 2 (tp 2)"
    assert device["activations"]["formula"].endswith("x hidden 4,096 x 4,096 tokens x 2 B")
    assert all(row["formula"] and row["source"] for row in ended.data["Device memory"])
    assert {row["part"] for row in ended.data["Host memory for each pod"]} >= {"sharedMemory", "process", "page cache"}
    assert run("explain", pairing, "ledger", "-o", "markdown").code == 0
    assert run("explain", pairing, "ledger").code == 0
