"""Engine commands read out of manifests of every form, and the domain checks on them."""

from __future__ import annotations

import pytest

from stowplan.catalog import Catalog
from stowplan.check.commands import Command, commands
from stowplan.check.objects import Bundle
from stowplan.check.runner import check_bundle, objects_of
from stowplan.check.shell import simple_commands
from stowplan.diagnostics import Diagnostic
from stowplan.located_yaml import read_bytes
from stowplan.plain_scalars import kubernetes_scalar

ALPHA = """\
apiVersion: nvidia.com/v1alpha1
kind: DynamoGraphDeployment
metadata: {name: flash}
spec:
  envs: [{name: MODEL, value: deepseek-ai/DeepSeek-V4-Flash}]
  services:
    Frontend:
      extraPodSpec: {mainContainer: {image: "registry.example.com/front:1.0"}}
    Worker:
      replicas: 2
      multinode: {nodeCount: 2}
      resources: {limits: {gpu: "4"}}
      extraPodSpec:
        mainContainer:
          image: registry.example.com/runtime:1.0
          command: [/bin/sh, -c]
          args:
            - |
              # the worker
              export SIZE=8
              exec python3 -m dynamo.vllm \\
                --model "${MODEL}" \\
                --tensor-parallel-size ${SIZE} \\
                --max-model-len ${LENGTH:-65536} \\
                --attention-config '{"use_fp4_indexer_cache": true}' > /tmp/log 2>&1
"""
BETA = """\
apiVersion: nvidia.com/v1beta1
kind: DynamoGraphDeployment
metadata: {name: flash}
spec:
  components:
    - name: Worker
      multinode: {nodeCount: 2}
      podTemplate:
        spec:
          containers:
            - name: main
              image: registry.example.com/runtime:1.0
              command: [python3, -m, dynamo.sglang]
              args: [--model-path, deepseek-ai/DeepSeek-V4-Flash, --tp, "8", --context-length, "65536"]
              resources: {limits: {nvidia.com/gpu: "4"}}
"""
PLATFORM = """\
apiVersion: serving.kserve.io/v1alpha2
kind: LLMInferenceService
metadata: {name: flash}
spec:
  model: {uri: "hf://deepseek-ai/DeepSeek-V4-Flash"}
  parallelism: {tensor: 8, expert: true}
  template:
    containers:
      - name: main
        args: [--max-model-len=65536]
        resources: {limits: {nvidia.com/gpu: "8"}}
"""
ROLES = """\
apiVersion: workloads.x-k8s.io/v1alpha2
kind: RoleBasedGroup
metadata: {name: flash}
spec:
  roles:
    - name: decode
      leaderWorkerPattern:
        size: 2
        template:
          spec:
            containers:
              - name: engine
                image: lmsysorg/sglang:v0.5.20
                command: [python3, -m, sglang.launch_server, --model-path, /models/DeepSeek-V4-Flash, --tp-size, "8", --context-length, "65536"]
                resources: {limits: {nvidia.com/gpu: "4"}}
                volumeMounts: [{name: shm, mountPath: /dev/shm}]
            volumes: [{name: shm, emptyDir: {medium: Memory}}]
"""
SERVING = """\
apiVersion: workload.serving.volcano.sh/v1alpha1
kind: ModelServing
metadata: {name: flash}
spec:
  template:
    roles:
      - name: decode
        workerReplicas: 1
        entryTemplate:
          spec:
            containers:
              - name: leader
                image: vllm/vllm-openai:v0.26.0
                command: [bash, -c, "ray start --head --port=6379; vllm serve deepseek-ai/DeepSeek-V4-Flash --tensor-parallel-size 8 --enable-expert-parallel --max-model-len 65536"]
                resources: {limits: {nvidia.com/gpu: "4"}}
                volumeMounts: [{name: shm, mountPath: /dev/shm}]
            volumes: [{name: shm, emptyDir: {medium: Memory}}]
"""
GROUP = """\
apiVersion: leaderworkerset.x-k8s.io/v1
kind: LeaderWorkerSet
metadata: {name: flash}
spec:
  leaderWorkerTemplate:
    size: 2
    workerTemplate:
      spec:
        containers:
          - name: engine
            image: lmsysorg/sglang:v0.5.20
            command: [python3, -m, sglang.launch_server, --model-path, deepseek-ai/DeepSeek-V4-Flash, --tp, "8", --nnodes, $(LWS_GROUP_SIZE), --context-length, "65536"]
            resources: {limits: {nvidia.com/gpu: "4"}}
            volumeMounts: [{name: shm, mountPath: /dev/shm}]
        volumes: [{name: shm, emptyDir: {medium: Memory}}]
"""
ARGUMENTS = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: flash}
spec:
  selector: {matchLabels: {app: flash}}
  template:
    metadata: {labels: {app: flash}}
    spec:
      containers:
        - name: engine
          image: mirror.example.com/vllm/vllm-openai:v0.26.0
          args: [--model, deepseek-ai/DeepSeek-V4-Flash, -tp, "8", -ep, --max_model_len=65536, --compilation-config.mode, "3"]
          resources: {limits: {nvidia.com/gpu: "8"}}
          volumeMounts: [{name: shm, mountPath: /dev/shm}]
      volumes: [{name: shm, emptyDir: {medium: Memory}}]
"""
ALL = {
    "alpha": ALPHA,
    "beta": BETA,
    "platform": PLATFORM,
    "roles": ROLES,
    "serving": SERVING,
    "group": GROUP,
    "arguments": ARGUMENTS,
}


def read(text: str) -> list[Command]:
    bundle = Bundle(tuple(objects_of(read_bytes(text.encode(), "x.yaml", scalar=kubernetes_scalar))), "1.36")
    return [command for item in bundle.objects for command in commands(item, bundle)]


def domain(text: str, catalog: Catalog) -> list[Diagnostic]:
    """Findings of the domain level, but the advice on runtime classes."""
    found = check_bundle(list(read_bytes(text.encode(), "x.yaml", scalar=kubernetes_scalar)), "1.36", catalog=catalog)
    return [d for d in found if d.level == "domain" and d.code != "D125"]


@pytest.mark.parametrize("form", ALL)
def test_the_command_is_read_out_of_every_form(form: str) -> None:
    (command,) = read(ALL[form])
    assert command.model.endswith("DeepSeek-V4-Flash")
    assert command.integer("--tensor-parallel-size") == 8
    assert 65536 in (command.flags.get("--max-model-len"), command.flags.get("--context-length"))
    assert command.serving.hosts == (1 if form in ("platform", "arguments") else 2)


@pytest.mark.parametrize("form", ALL)
def test_a_right_manifest_has_no_finding(form: str, catalog: Catalog) -> None:
    assert domain(ALL[form], catalog) == []


@pytest.mark.parametrize("form", ALL)
def test_ranks_without_devices_are_found_in_every_form(form: str, catalog: Catalog) -> None:
    words = {"platform": ("tensor: 8", "tensor: 32"), "alpha": ("SIZE=8", "SIZE=32"), "serving": ("size 8", "size 32")}
    words["arguments"] = ('-tp, "8"', '-tp, "32"')
    more = ALL[form].replace(*words.get(form, ('"8"', '"32"')))
    (found,) = [d for d in domain(more, catalog) if d.code == "D150"]
    assert "starts 32 ranks" in found.message
    assert found.location
    assert found.location.line


@pytest.mark.parametrize(
    ("form", "old", "new", "code"),
    [
        ("alpha", 'gpu: "4"', 'gpu: "128"', "D152"),
        ("alpha", "max-model-len ${LENGTH:-65536}", "max-num-seqs 64", "D145"),
        (
            "alpha",
            "--attention-config '{\"use_fp4_indexer_cache\": true}'",
            '--speculative-config \'{"method": "dspark"}\'',
            "D101",
        ),
        ("beta", "nvidia.com/gpu", "amd.com/gpu", ""),
        ("arguments", "vllm-openai:v0.26.0", "vllm-openai:latest", "D102"),
        ("arguments", "-ep", "-ep, --enable-expert-paralel", "D140"),
        ("arguments", "DeepSeek-V4-Flash", "DeepSeek-V4-Flash-NVFP4", ""),
        (
            "arguments",
            "containers:",
            "nodeSelector: {cloud.google.com/gke-accelerator: nvidia-h200-141gb}\n      containers:",
            "",
        ),
        ("arguments", "mountPath: /dev/shm", "mountPath: /shm", "D160"),
        ("arguments", '"8", -ep', '"4", -ep', "D151"),
        (
            "arguments",
            "resources:",
            "livenessProbe: {httpGet: {path: /health, port: 8000}, initialDelaySeconds: 5}\n          resources:",
            "D107",
        ),
        (
            "arguments",
            "resources:",
            "startupProbe: {httpGet: {path: /health, port: 8000}, initialDelaySeconds: 900}\n          resources:",
            "",
        ),
        ("arguments", "resources:", "env: [{name: URL, value: 'http://gw.None.svc:80'}]\n          resources:", "D164"),
        ("group", '"8", --nnodes', '"8", --dp, "2", --nnodes', "D150 D154"),
        ("group", '"8", --nnodes', '"8", --dp, "2", --enable-dp-attention, --nnodes', "D154"),
        ("roles", '--tp-size, "8"', "--config, /etc/roles.yaml", ""),
        ("roles", "sglang:v0.5.20", "sglang:v0.5.20-amd", ""),
    ],
)
def test_one_change_is_found_with_its_code(form: str, old: str, new: str, code: str, catalog: Catalog) -> None:
    assert old in ALL[form]
    found = {d.code for d in domain(ALL[form].replace(old, new), catalog)}
    assert found == set(code.split())


def test_a_chip_that_labels_name_lacks_the_format(catalog: Catalog) -> None:
    text = ARGUMENTS.replace("deepseek-ai/DeepSeek-V4-Flash", "nvidia/DeepSeek-V4-Flash-NVFP4")
    labelled = text.replace("containers:", "nodeSelector: {nvidia.com/gpu.product: NVIDIA-H200}\n      containers:")
    assert domain(text, catalog) == []
    assert [d.code for d in domain(labelled, catalog)] == ["D144"]


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("a --b c\nd", [["a", "--b", "c"], ["d"]]),
        ("a \\\n  --b 'c d' \\\n  --e\necho done", [["a", "--b", "c d", "--e"], ["echo", "done"]]),
        ("X=1 exec a $X ${Y:-z} $Z > log 2>&1", [["a", "$X", "z", "$Z"]]),
        ("export A=b; a --b=$A && c || d &\n", [["a", "--b=b"], ["c"], ["d"]]),
        ("# a comment\na # another\nb", [["a"], ["b"]]),
        ("if true; then a; fi", [["if", "true"], ["a"], ["fi"]]),
        ("a 'unclosed", []),
        ("", []),
    ],
)
def test_scripts_are_split_as_a_shell_does(script: str, words: list[list[str]]) -> None:
    assert list(simple_commands(script, {})) == words


FILES = """\
apiVersion: v1
kind: ConfigMap
metadata: {name: files}
data:
  run.sh: |
    vllm serve $MODEL --tensor-parallel-size $TP \\
      --max-model-len 65536
  settings.yaml: "tp-size: 8\\ncontext-length: 65536\\n"
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: flash}
spec:
  selector: {matchLabels: {app: flash}}
  template:
    metadata: {labels: {app: flash}}
    spec:
      containers:
        - name: engine
          image: vllm/vllm-openai:v0.26.0
          command: [bash, -c, "cd /work && ./run.sh"]
          env: [{name: MODEL, value: deepseek-ai/DeepSeek-V4-Flash}, {name: TP, value: "8"}]
          resources: {limits: {nvidia.com/gpu: "8"}}
          volumeMounts: [{name: files, mountPath: /work}, {name: shm, mountPath: /dev/shm}]
        - name: other
          image: lmsysorg/sglang:v0.5.20
          command: [python3, -m, sglang.launch_server, --model-path, deepseek-ai/DeepSeek-V4-Flash, --config, /etc/settings.yaml]
          resources: {limits: {nvidia.com/gpu: "8"}}
          volumeMounts: [{name: files, mountPath: /etc/settings.yaml, subPath: settings.yaml}, {name: shm, mountPath: /dev/shm}]
      volumes: [{name: files, configMap: {name: files}}, {name: shm, emptyDir: {medium: Memory}}]
"""


def test_scripts_and_settings_are_read_from_config_maps_of_the_bundle(catalog: Catalog) -> None:
    assert domain(FILES, catalog) == []
    assert [d.code for d in domain(FILES.replace('TP, value: "8"', 'TP, value: "16"'), catalog)] == ["D150", "D154"]
    assert [d.code for d in domain(FILES.replace("tp-size: 8", "tp-size: 16"), catalog)] == ["D150", "D154"]
    assert [d.code for d in domain(FILES.replace("tp-size: 8", "tp-sise: 8"), catalog)] == ["D140", "D151"]


def test_workers_beside_a_head_leave_the_hosts_open(catalog: Catalog) -> None:
    head = "containers: [{name: e, image: 'vllm/vllm-openai:v0.26.0', command: [vllm, serve, m, -tp, '16'], resources: {limits: {nvidia.com/gpu: 8}}}]"
    spec = f"headGroupSpec: {{template: {{spec: {{{head}}}}}}}"
    kind = "apiVersion: ray.io/v1\nkind: RayCluster\nmetadata: {name: a}\nspec:\n  "
    assert [d.code for d in domain(f"{kind}{spec}\n", catalog)] == ["D150", "D160"]
    workers = f"{kind}{spec}\n  workerGroupSpecs: [{{replicas: 1}}]\n"
    assert [d.code for d in domain(workers, catalog)] == ["D160"]


_ASKING = """\
apiVersion: apps/v1
kind: Deployment
metadata: {{name: engine, namespace: serving}}
spec:
  replicas: 2
  selector: {{matchLabels: {{app: engine}}}}
  template:
    metadata:
      labels: {{app: engine}}
      annotations: {annotations}
    spec:
{named}      containers:
        - name: engine
          image: registry.example.com/engine:1.0
          resources: {{limits: {{{resource}: "16"}}}}
"""


@pytest.mark.parametrize(
    ("named", "resource", "annotations", "expected"),
    [
        ("", "huawei.com/Ascend910C", "{}", {"D125": "warning"}),
        ("      runtimeClassName: ascend\n", "huawei.com/Ascend910C", "{}", {}),
        ("      schedulerName: hami-scheduler\n", "huawei.com/Ascend910C", "{}", {"D124": "error"}),
        ("      schedulerName: volcano\n", "huawei.com/Ascend910C", "{}", {"D124": "error"}),
        ("      schedulerName: volcano\n", "huawei.com/Ascend910", "{sp-block: '32'}", {}),
        ("      schedulerName: volcano\n", "huawei.com/Ascend910", "{sp-block: '48'}", {"D126": "error"}),
    ],
)
def test_what_a_webhook_or_a_gang_completes_is_no_fault(
    named: str, resource: str, annotations: str, expected: dict[str, str], catalog: Catalog
) -> None:
    text = _ASKING.format(named=named, resource=resource, annotations=annotations)
    documents = read_bytes(text.encode(), "engine.yaml", scalar=kubernetes_scalar)
    found = check_bundle(documents, "1.36", None, catalog)
    assert {d.code: d.severity for d in found if d.code in ("D124", "D125", "D126")} == expected


@pytest.mark.parametrize(
    ("words", "expected"), [("", {"D151"}), (" $MORE", set()), (' "$@"', set()), (" --port $PORT", {"D151"})]
)
def test_unknown_words_of_a_command_leave_its_sizes_open(words: str, expected: set[str], catalog: Catalog) -> None:
    text = f"""\
apiVersion: v1
kind: Pod
metadata: {{name: engine, namespace: serving}}
spec:
  runtimeClassName: nvidia
  containers:
    - name: engine
      image: vllm/vllm-openai:v0.30.0
      command: [/bin/sh, -c]
      args: ['exec vllm serve deepseek-ai/DeepSeek-V4-Flash{words}']
      resources: {{limits: {{nvidia.com/gpu: "4"}}}}
"""
    assert {d.code for d in domain(text, catalog)} & {"D151"} == expected
