"""A release's address in; the archive that krew installs and its manifest out.

    python scripts/krew_manifest.py https://example.com/releases/v0.1.0 dist

Maintainer's tool: writes DIR/kubectl-stowplan.tar.gz (the same bytes each time) and DIR/stowplan.yaml, the manifest for an index.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import sys
import tarfile
from pathlib import Path
from typing import Any

from stowplan import __version__
from stowplan.canonical_yaml import dump

ROOT = Path(__file__).parent.parent
ARCHIVE = "kubectl-stowplan.tar.gz"
FILES = {"kubectl-stowplan": ROOT / "integrations/krew/kubectl-stowplan", "LICENSE": ROOT / "LICENSE"}
EXECUTABLE, READABLE = 0o755, 0o644


def archive() -> bytes:
    """The plugin with its licence; no owner, no time."""
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, path in FILES.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = path.stat().st_size, READABLE if name == "LICENSE" else EXECUTABLE
            tar.addfile(entry, io.BytesIO(path.read_bytes()))
    return gzip.compress(plain.getvalue(), mtime=0)


def manifest(address: str, sha256: str) -> dict[str, Any]:
    """The plugin in the words of an index."""
    selector = {"matchExpressions": [{"key": "os", "operator": "In", "values": ["darwin", "linux"]}]}
    platform = {"selector": selector, "uri": f"{address}/{ARCHIVE}", "sha256": sha256, "bin": "kubectl-stowplan"}
    return {
        "apiVersion": "krew.googlecontainertools.github.com/v1alpha2",
        "kind": "Plugin",
        "metadata": {"name": "stowplan"},
        "spec": {
            "version": f"v{__version__}",
            "homepage": address,
            "shortDescription": "Plan, render and check DeepSeek V4 deployments",
            "description": "Plans a model variant on a server for a use case, renders the manifests, checks anyone's manifests offline.\n",
            "caveats": "The plugin starts the Python package stowplan, which has to be on the path: pipx install stowplan\n",
            "platforms": [platform],
        },
    }


def main(address: str, folder: str) -> int:
    """Write both files."""
    packed, out = archive(), Path(folder)
    out.mkdir(parents=True, exist_ok=True)
    (out / ARCHIVE).write_bytes(packed)
    (out / "stowplan.yaml").write_text(dump(manifest(address, hashlib.sha256(packed).hexdigest())), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
