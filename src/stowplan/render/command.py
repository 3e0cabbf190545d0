"""A role's flags in; the shell scripts that start the engine, fetch weights and ask one question, out."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stowplan.profiles.device_layer import Workload
from stowplan.profiles.engine import Container, EngineSpec, MultiNode, RankProcesses
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


@dataclass(frozen=True, slots=True)
class Place:
    """A pod's place among those of its role."""

    nodes: int
    ranks: int
    """Data-parallel ranks of the whole role."""
    leader: bool
    every_pod: bool
    """Each pod answers, not the leader alone."""
    processes: int
    """Processes of a pod."""
    devices: int
    """Devices of one process."""
    by_rank: RankProcesses | None
    """How a process of one rank is told its place; None: one process has all ranks of the pod."""


def engine_script(
    engine: EngineSpec, model: str, flags: Mapping[str, Any], place: Place, made: Mapping[str, Any]
) -> str:
    """Start the engine of one pod; `made` has the ports and addresses of its role."""
    key = f'{engine.endpoint.api_key_flag} "${engine.endpoint.api_key_env}"' if engine.endpoint.api_key_flag else ""
    serves = place.leader or place.every_pod
    group: list[str] = [key] if key and serves else []
    multi = engine.multi_node
    if place.by_rank:
        return _rank_script(engine, model, flags, group, place, place.by_rank, made)
    if place.nodes > 1 and multi:
        if not serves and "headless" in multi.flags:  # such a pod has no HTTP server, and refuses its flags
            serving = {engine.fields[name].flag for name in ("port", "servedModelName")}
            flags = {flag: value for flag, value in flags.items() if flag not in serving}
        group += group_flags(multi, place)
    return _beginning(engine.container) + f"exec {_words(engine.container, model, flags, group)}\n"


def _beginning(container: Container) -> str:
    clean = "# a restarted container finds the segments of the one before\nrm -rf /dev/shm/*\n"
    return f"{setup_script(container.setup)}set -eu\n{clean}"


def _words(
    container: Container, model: str, flags: Mapping[str, Any], more: Sequence[str] = (), indent: str = "  "
) -> str:
    words = [f"{shlex.join(container.command)} {shlex.quote(model)}", *arguments(flags), *more]
    return f" \\\n{indent}".join(words)


def _rank_script(
    engine: EngineSpec,
    model: str,
    flags: Mapping[str, Any],
    more: Sequence[str],
    place: Place,
    spec: RankProcesses,
    made: Mapping[str, Any],
) -> str:
    port, indexes = engine.fields["port"].flag, " ".join(str(index) for index in range(place.processes))
    grouped, count = place.nodes > 1, place.devices
    rank = f"$((LWS_WORKER_INDEX * {place.processes} + index))" if grouped else "$index"
    devices = f"$(seq -s, $((index * {count})) $((index * {count} + {count - 1})))" if count > 1 else "$index"
    address = "LWS_LEADER_ADDRESS" if grouped else made["network"]["addressEnv"][0]
    own = [
        *more,
        f'{port} "$(({made["ports"]["http"]} + index))"',
        f'{spec.flags["rank"]} "{rank}"',
        f'{spec.flags["address"]} "${address}"',
        f"{spec.flags['rpcPort']} {made['ports']['rpc']}",
    ]
    shared = {flag: value for flag, value in flags.items() if flag != port}
    return _beginning(engine.container) + _RANKS.format(
        indexes=indexes,
        variable=spec.devices_env,
        devices=devices,
        command=_words(engine.container, model, shared, own, "    "),
    )


_RANKS = """\
engines=()
stop() {{ kill -TERM "${{engines[@]}}" 2>/dev/null || true; }}
trap stop TERM INT
for index in {indexes}; do
  {variable}="{devices}"
  export {variable}
  {command} &
  engines+=("$!")
done
# the ranks wait for each other: one that ends takes the others with it
code=0
wait -n || code=$?
stop
wait || true
exit "$code"
"""


def group_flags(multi_node: MultiNode, place: Place) -> list[str]:
    """Flags that place a pod in its group; the LeaderWorkerSet's environment gives address and index."""
    names, port = multi_node.flags, multi_node.rpc_port
    if multi_node.method == "node-rank":
        return [
            f'{names["address"]} "$LWS_LEADER_ADDRESS:{port}"',
            f"{names['nodes']} {place.nodes}",
            f'{names["rank"]} "$LWS_WORKER_INDEX"',
        ]
    here = place.ranks // place.nodes
    words = [
        f'{names["address"]} "$LWS_LEADER_ADDRESS"',
        f"{names['rpcPort']} {port}",
        f"{names['sizeLocal']} {here}",
    ]
    start = f"{names['startRank']} $((LWS_WORKER_INDEX * {here}))"
    if place.every_pod:
        return [*words, start]
    return words if place.leader else [*words, names["headless"], start]


def marker(path: str) -> str:
    """File that a Job leaves beside a whole checkpoint."""
    return f"{path}/{_COMPLETE}"


def wait_script(file: str) -> str:
    """Wait until the volume has the file by which a whole checkpoint is known."""
    return f"until [ -f {shlex.quote(file)} ]; do echo 'waiting for the weights'; sleep 15; done\n"


def ready_script(ports: Sequence[int], path: str, model: str, key_variable: str) -> str:
    """Exit 0 when each of the pod's endpoints lists the served model; the key comes from the container's environment."""
    return (
        "import json, os, urllib.request as r\n"
        f'headers = {{"Authorization": "Bearer " + os.environ.get({key_variable!r}, "")}}\n'
        f"for port in {list(ports)}:\n"
        f'    request = r.Request(f"http://127.0.0.1:{{port}}{path}", headers=headers)\n'
        f'    assert {model!r} in [m["id"] for m in json.load(r.urlopen(request, timeout=8))["data"]], port\n'
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

WAIT_FOR_ENGINES = """\
import sys, time, urllib.request

path, *roles = sys.argv[1:]


def answers(address):
    try:
        return urllib.request.urlopen(address + path, timeout=5).status == 200
    except OSError as error:  # refused, reset, timed out, no such name yet
        print("waiting:", address, error, flush=True)
        return False


for role in roles:
    while not any(answers(address) for address in role.split(",")):
        time.sleep(15)
"""
