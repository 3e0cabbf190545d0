"""Runs with the Python of the engine's image: versions of its libraries, and collectives over every device of every host."""

import glob
import importlib
import json
import os
import platform
import re
import socket
import subprocess
import sys
import time
from datetime import timedelta

PORT = 29511
PATIENCE = timedelta(minutes=15)
MEASURED_BYTES = 64 * 1024 * 1024


def load(names):
    return {name: importlib.import_module(name) for name in names}


def versions(wanted, modules):
    """Compare what the image holds with what the plan says that it holds."""
    known = {**load(["torch", *modules]), "glob": glob, "platform": platform, "re": re}
    wrong = []
    for library, (expression, expected) in wanted.items():
        try:
            found = str(eval(expression, known)).strip()
        except Exception as error:
            found = f"unknown ({error})"
        same = found == expected or (found.startswith(expected) and not found[len(expected)].isdigit())
        print(f"{library} {found}, expected {expected}", flush=True)
        wrong += [] if same else [library]
    return f"other than expected: {', '.join(wrong)}" if wrong else 0


def collective(backend, device, modules):
    """Start one process for each device of this host, and end all when one fails."""
    hosts, here = int(os.environ["STOWPLAN_HOSTS"]), int(os.environ["STOWPLAN_DEVICES"])
    index, leader = int(os.environ.get("JOB_COMPLETION_INDEX", "0")), os.environ.get("STOWPLAN_LEADER", "127.0.0.1")
    wait_for_name(leader)
    running = {}
    for local in range(here):
        place = {"RANK": index * here + local, "WORLD_SIZE": hosts * here, "LOCAL_RANK": local, "MASTER_ADDR": leader}
        command = [sys.executable, __file__, "rank", backend, device, *modules]
        running[local] = subprocess.Popen(command, env={**os.environ, **{k: str(v) for k, v in place.items()}})
    failed = None
    while running and failed is None:
        time.sleep(0.05)
        for local, process in list(running.items()):
            code = process.poll()
            if code is not None:
                del running[local]
                failed = local if code else None
                if failed is not None:
                    break
    for process in running.values():
        process.kill()
    if failed is not None:
        return f"device {failed} of host {index} failed (of {hosts} x {here} devices)"
    print(f"all-reduce and all-to-all are right over {hosts} x {here} devices ({backend})", flush=True)
    return 0


def wait_for_name(name):
    """The leader's name appears in the cluster's DNS when its pod has an address."""
    end = time.monotonic() + PATIENCE.total_seconds()
    while True:
        try:
            socket.getaddrinfo(name, PORT)
            return
        except OSError:
            if time.monotonic() > end:
                sys.exit(f"the first host does not appear under the name {name}")
            time.sleep(5)


def rank(backend, device, modules):
    """One device: it computes, then takes part in both collectives, whose results are known beforehand."""
    load(modules)
    import torch
    import torch.distributed as group

    me, size, local = (int(os.environ[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"))
    place = f"{device}:{local}"
    getattr(torch, device).set_device(local)
    if (torch.ones(1024, device=place) * 2).sum().item() != 2048:
        return f"device {local} computes wrongly"
    address = f"tcp://{os.environ['MASTER_ADDR']}:{PORT}"
    group.init_process_group(backend, init_method=address, rank=me, world_size=size, timeout=PATIENCE)
    value = torch.full((1024,), float(me + 1), device=place)
    group.all_reduce(value)
    if value.tolist() != [size * (size + 1) / 2] * 1024:
        return f"device {local}: the sum over {size} devices is wrong"
    sent = torch.tensor([float(me * size + other) for other in range(size)], device=place)
    received = torch.zeros(size, device=place)
    group.all_to_all_single(received, sent)
    if received.tolist() != [float(other * size + me) for other in range(size)]:
        return f"device {local}: the exchange between {size} devices is wrong"
    if size > 1:
        measure(torch, group, place, me, size)
    group.barrier()
    group.destroy_process_group()
    return 0


def measure(torch, group, place, me, size):
    """Bus bandwidth of one large all-reduce; it is shown and not judged, since no source says what it must be."""
    value = torch.zeros(MEASURED_BYTES // 4, device=place)
    for _ in range(2):
        group.all_reduce(value)
        value[:1].tolist()
        start = time.perf_counter()
        group.all_reduce(value)
        value[:1].tolist()
        seconds = time.perf_counter() - start
    if me == 0:
        rate = MEASURED_BYTES / seconds * 2 * (size - 1) / size / 1e9
        print(
            f"all-reduce of {MEASURED_BYTES >> 20} MiB over {size} devices: {rate:.1f} GB/s (bus bandwidth)", flush=True
        )


if __name__ == "__main__":
    action, *rest = sys.argv[1:]
    if action == "versions":
        sys.exit(versions(json.loads(rest[0]), rest[1:]))
    sys.exit({"collective": collective, "rank": rank}[action](rest[0], rest[1], rest[2:]))
