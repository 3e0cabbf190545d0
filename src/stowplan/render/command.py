"""A role's flags in; the shell scripts that start the engine, fetch weights and ask one question, out."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from stowplan.profiles.device_layer import Workload
from stowplan.profiles.engine import Container, MultiNode
from stowplan.profiles.site import Weights

_COMPLETE = ".complete"


def arguments(flags: Mapping[str, Any]) -> Iterator[str]:
    """Shell words of the flags: a switch stands alone, a mapping or list is JSON."""
    for flag, value in flags.items():
        if value is False:
            continue
        yield flag if value is True else f"{flag} {shlex.quote(_word(value))}"


def _word(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def setup_script(files: Sequence[str]) -> str:
    """Source what the image's entry point would; a pattern may match nothing, and such files break `set -eu`."""
    if not files:
        return ""
    return f'set +eu\nfor file in {" ".join(files)}; do if [ -f "$file" ]; then . "$file"; fi; done\n'


def start_script(container: Container, model: str, flags: Mapping[str, Any], group: Sequence[str] = ()) -> str:
    """Start the engine in place of the shell, so that it gets the pod's signals."""
    words = [f"{shlex.join(container.command)} {shlex.quote(model)}", *arguments(flags), *group]
    lines = " \\\n  ".join(words)
    return (
        f"{setup_script(container.setup)}set -eu\n# a restarted container finds the segments of the one before\n"
        f"rm -rf /dev/shm/*\nexec {lines}\n"
    )


def group_flags(multi_node: MultiNode, nodes: int, ranks: int, *, leader: bool) -> list[str]:
    """Flags that place a pod in its group; the LeaderWorkerSet's environment gives address and index."""
    names, port = multi_node.flags, multi_node.rpc_port
    if multi_node.method == "node-rank":
        return [
            f'{names["address"]} "$LWS_LEADER_ADDRESS:{port}"',
            f"{names['nodes']} {nodes}",
            f'{names["rank"]} "$LWS_WORKER_INDEX"',
        ]
    here = ranks // nodes
    words = [
        f'{names["address"]} "$LWS_LEADER_ADDRESS"',
        f"{names['rpcPort']} {port}",
        f"{names['sizeLocal']} {here}",
    ]
    if not leader:
        words += [names["headless"], f"{names['startRank']} $((LWS_WORKER_INDEX * {here}))"]
    return words


def marker(path: str) -> str:
    """File that a Job leaves beside a whole checkpoint."""
    return f"{path}/{_COMPLETE}"


def wait_script(path: str) -> str:
    """Wait until the checkpoint is whole on the volume."""
    return f"until [ -f {shlex.quote(marker(path))} ]; do echo 'waiting for the weights'; sleep 15; done\n"


def ready_script(port: int, path: str, model: str, key_variable: str) -> str:
    """Exit 0 when the endpoint lists the served model; the key comes from the container's own environment."""
    return (
        "import json, os, urllib.request as r; "
        f'key = os.environ.get({key_variable!r}, ""); '
        f'request = r.Request("http://127.0.0.1:{port}{path}", headers={{"Authorization": "Bearer " + key}}); '
        f'assert {model!r} in [m["id"] for m in json.load(r.urlopen(request, timeout=8))["data"]]'
    )


_FETCH = {
    "huggingface": "from huggingface_hub import snapshot_download as fetch",
    "modelscope": "from modelscope import snapshot_download as fetch",
}


def hidden_env(workload: Workload) -> list[dict[str, str]]:
    """Variables without which the devices of a host would enter a container that asks for none."""
    return [{"name": name, "value": value} for name, value in workload.hide_devices.items()]


def mirror_env(weights: Weights) -> list[dict[str, str]]:
    """Variables that send the hubs' clients to the site's mirrors; one takes an address, the other a host name."""
    addresses = weights.endpoints
    env = [{"name": "HF_ENDPOINT", "value": addresses["huggingface"]}] if "huggingface" in addresses else []
    if "modelscope" in addresses:
        env.append({"name": "MODELSCOPE_DOMAIN", "value": addresses["modelscope"].rpartition("//")[2].rstrip("/")})
    return env


def download_script(python: str, hub: str, checkpoint: str, revision: str | None, path: str) -> str:
    """Fetch a checkpoint once; what is already there is kept."""
    where, whole = shlex.quote(path), shlex.quote(marker(path))
    pin = f", revision={revision!r}" if revision else ""
    fetch = shlex.quote(f"{_FETCH[hub]}; fetch({checkpoint!r}{pin}, local_dir={path!r})")
    return f"set -eu\n[ ! -f {whole} ] || exit 0\nmkdir -p {where}\n{python} -c {fetch}\ntouch {whole}\n"


SMOKE_TEST = """\
import json, os, sys, time, urllib.error, urllib.request

base, model = os.environ["ENDPOINT"], os.environ["MODEL"]
headers = {"Content-Type": "application/json", "Authorization": "Bearer " + os.environ.get("API_KEY", "")}


def ask(path, body=None):
    data = json.dumps(body).encode() if body else None
    with urllib.request.urlopen(urllib.request.Request(base + path, data, headers), timeout=600) as answer:
        return json.load(answer)


while True:
    try:
        served = [entry["id"] for entry in ask("/v1/models")["data"]]
        break
    except OSError as error:  # refused, reset, timed out, not ready
        if isinstance(error, urllib.error.HTTPError) and error.code in (401, 403):
            sys.exit(f"the endpoint refuses the key: {error}")
        print("not ready:", error, flush=True)
        time.sleep(15)
if model not in served:
    sys.exit(f"{model} is not served; served are {served}")
question = {"model": model, "messages": [{"role": "user", "content": "What is 17 + 25? Answer with the number."}], "max_tokens": 2048, "temperature": 0}
message = ask("/v1/chat/completions", question)["choices"][0]["message"]
text = (message.get("content") or "") + (message.get("reasoning") or message.get("reasoning_content") or "")
print(text)
sys.exit(0 if "42" in text else "the answer does not hold 42")
"""
