# SPDX-License-Identifier: Apache-2.0
"""Images on the nodes: OCI archives imported into every containerd, under their name and under name@digest."""

from __future__ import annotations

import json
import shutil
import sys
import tarfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType

from evidencelocal import cache, node, tools
from evidencelocal.settings import LOCAL, PAUSE_IMAGE, ClusterError, Settings, cache_dir
from evidencelocal.shell import say, write

_NAME = "io.containerd.image.name"
_CTR = ("ctr", "-a", "/run/containerd.sock", "-n", "k8s.io", "images")


def names(archive: Path) -> list[tuple[str, str]]:
    """(name:tag, name@sha256:...) of every image in an OCI archive.

    The second is the name by which the kubelet looks for an image that a pod names by its digest.
    """
    try:
        with tarfile.open(archive) as tar:
            member = tar.extractfile("index.json")
            index = json.load(member) if member else {}
    except (OSError, KeyError, tarfile.TarError, ValueError) as error:
        raise ClusterError(f"{archive} is no OCI image archive: {error}") from error
    found = [
        (manifest["annotations"][_NAME], manifest["digest"])
        for manifest in index.get("manifests", [])
        if _NAME in manifest.get("annotations", {})
    ]
    if not found:
        raise ClusterError(f"{archive}: no manifest in index.json carries the annotation {_NAME}")
    return [(name, f"{_repository(name)}@{digest}") for name, digest in found]


def _repository(name: str) -> str:
    head, _, last = name.rpartition("/")
    return f"{head}/{last.partition(':')[0]}" if head else last.partition(":")[0]


def _write_names(archive: Path, beside: Path) -> None:
    """Write what node-init.sh reads: for the archive `beside`, which has the content of `archive`, its names."""
    lines = [f"{name} {by_digest}\n" for name, by_digest in names(archive)]
    write(beside.with_name(beside.name + ".names"), "".join(lines))


def pause_folder() -> Path:
    """The folder with the archive of the pause image, made from the program `pause` if it is not there."""
    program = tools.path("pause").resolve()
    folder = cache_dir() / "images" / program.parent.name
    archive = folder / "pause.tar"
    if not archive.is_file():
        root = folder / "rootfs"
        root.mkdir(parents=True, exist_ok=True)
        shutil.copy(program, root / "pause")
        _packer().write(root, PAUSE_IMAGE, archive, entrypoint=["/pause"], user="65535:65535")
        shutil.rmtree(root)
    _write_names(archive, archive)
    cache.use(folder)
    return folder


def _packer() -> ModuleType:
    """The module deploy/images/ociarchive.py, which stands outside of this package."""
    folder = str(LOCAL.parent / "images")
    if folder not in sys.path:
        sys.path.insert(0, folder)
    import ociarchive

    return ociarchive


def _import(settings: Settings, number: int, archives: Sequence[Path]) -> None:
    for archive in archives:
        node.inside(settings, number, [*_CTR, "import", archive])
        for name, by_digest in names(archive):
            node.inside(settings, number, [*_CTR, "tag", "--force", name, by_digest])


def load(settings: Settings, archives: Sequence[Path]) -> None:
    """Import `archives` into every running node, and keep a copy for nodes that start later."""
    numbers = [number for number in node.existing(settings) if node.running(settings, number)]
    if not numbers:
        raise ClusterError("no node is running, so nothing can be loaded; fix: cluster up")
    kept = []
    for archive in archives:
        copy = settings.images / archive.name
        settings.images.mkdir(parents=True, exist_ok=True)
        _write_names(archive, copy)  # before the archive appears: a node may be starting
        unfinished = copy.with_name(copy.name + ".part")
        shutil.copyfile(archive, unfinished)
        unfinished.replace(copy)
        kept.append(copy)
    with ThreadPoolExecutor(max_workers=4) as pool:
        list(pool.map(lambda number: _import(settings, number, kept), numbers))
    for archive in kept:
        for name, by_digest in names(archive):
            say(f"{name} = {by_digest} on {len(numbers)} nodes")
