"""Numbers in the YAML that are no longer the plan's: each is found, in each kind of workload."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from conftest import MANIFESTS, Run

APART = "v4-flash.atlas-800i-a3.chat.apart"
GROUP = "v4-pro.atlas-800i-a2-910b3.chat"
FRONTS = "v4-pro-0813.gb200-nvl72-tray.chat.apart"
CHANGES = {
    "devices": (APART, "decode-stateful-set", "huawei.com/Ascend910: '16'", "huawei.com/Ascend910: '8'", "M301"),
    "instances": (APART, "prefill-stateful-set", "replicas: 1", "replicas: 2", "M302"),
    "nodes": (GROUP, "leader-worker-set", "size: 4", "size: 2", "M302"),
    "ranks": (APART, "decode-stateful-set", "--data-parallel-size 16", "--data-parallel-size 8", "M303"),
    "split": (GROUP, "leader-worker-set", "--tensor-parallel-size 8", "--tensor-parallel-size 4", "M304"),
    "peer sizes": (APART, "decode-stateful-set", '"prefill":{"dp_size":4', '"prefill":{"dp_size":8', "M303"),
    "handshake port": (APART, "prefill-stateful-set", '"kv_port":36000', '"kv_port":30000', "M303"),
    "shared memory": (APART, "decode-stateful-set", "sizeLimit: 512Gi", "sizeLimit: 2Gi", "M305"),
    "probe": (FRONTS, "decode-leader-worker-set", "failureThreshold: ", "failureThreshold: 1 # ", "M305"),
    "claim size": (GROUP, "weights", "storage: ", "storage: 9Gi # ", "M306"),
    "port name": (APART, "decode-stateful-set", "containerPort: 8903", "containerPort: 9903", "M307"),
    "processes": (APART, "decode-stateful-set", "for index in 0 1 2", "for index in 0 1", "M310"),
    "port": (APART, "prefill-stateful-set", "$((8900 + index))", "$((8901 + index))", "M310"),
    "router": (APART, "router", "- '8915'", "- '8916'", "M311"),
    "router port": (FRONTS, "router", "containerPort: 30000", "containerPort: 30001", "M311"),
    "role": (APART, "decode-stateful-set", "name: v4-flash-atlas-800i-a3-chat-apart-decode\n  namespace", "name: other\n  namespace", "M312"),
}  # fmt: skip


@pytest.mark.parametrize("what", CHANGES)
def test_a_number_that_is_not_the_plan_s_is_found(what: str, tmp_path: Path, run: Run) -> None:
    pairing, name, old, new, code = CHANGES[what]
    folder = tmp_path / pairing
    shutil.copytree(MANIFESTS / "pairings" / pairing, folder)
    file = folder / "serving" / f"{name}.yaml"
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new), encoding="utf-8")
    found = run("check", folder, "--format", "json").data["findings"]
    assert code in {finding["code"] for finding in found if finding["severity"] == "error"}
