#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Build the two images as OCI archives, without Docker: `build.py` makes them, `build.py check` makes and tries them.

Results: build/images/evidencerun.tar, build/images/evidencerun-probe.tar, and build/images/digests.json, which the
chart's values are taken from.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent))

import layers  # noqa: E402
import ociarchive  # noqa: E402
import rootfs  # noqa: E402
from imagespec import ENVIRONMENT, IMAGES, PROBE, REGISTRY, REPOSITORY, UID, ImageSpec  # noqa: E402

OUT = REPOSITORY / "build" / "images"
ABSENT_FROM_PROBE = ("kubernetes", "kopf", "aiohttp", "pip", "sigstore")


def version() -> str:
    """The version of our distribution, from its one place."""
    text = (REPOSITORY / "pkg/evidencerun/__init__.py").read_text(encoding="utf-8")
    found = re.search(r'^__version__ = "([^"]+)"$', text, re.MULTILINE)
    if not found:
        raise rootfs.RootfsError('pkg/evidencerun/__init__.py has no line __version__ = "..."')
    return found[1]


def build(spec: ImageSpec, out: Path, cache: Path) -> str:
    """Write the archive of `spec` below `out` and return its reference, name@sha256:digest."""
    parts = [layers.base_layer(cache), layers.requirements_layer(spec, cache), layers.code_layer(spec, cache)]
    name = f"{REGISTRY}/{spec.name}"
    labels = {
        "org.opencontainers.image.title": spec.name,
        "org.opencontainers.image.version": version(),
        "org.opencontainers.image.licenses": "Apache-2.0",
    }
    digest = ociarchive.write(
        parts,
        f"{name}:{version()}",
        out / f"{spec.name}.tar",
        entrypoint=spec.entrypoint,
        user=f"{UID}:{UID}",
        env=ENVIRONMENT,
        labels=labels,
    )
    print(f"{name}@{digest}")
    for part, title in zip(parts, ("base", "wheels", "code"), strict=True):
        print(f"  {title:7}{part.size / 1e6:6.1f} MB compressed  {part.digest}")
    return f"{name}@{digest}"


def build_all(out: Path, cache: Path) -> dict[str, str]:
    """Build every image below `out`, write digests.json there, and return its content."""
    out.mkdir(parents=True, exist_ok=True)
    refs = {spec.name.removeprefix("evidencerun-"): build(spec, out, cache) for spec in IMAGES}
    (out / "digests.json").write_text(json.dumps(refs, indent=2) + "\n", encoding="ascii")
    return refs


def unpack(archive: Path, root: Path) -> None:
    """Lay the layers of an image archive over each other in `root` (ours have no whiteouts)."""
    with tarfile.open(archive) as image:
        manifest = json.load(image.extractfile("manifest.json"))[0]  # type: ignore[arg-type]
        for name in manifest["Layers"]:
            with tarfile.open(fileobj=image.extractfile(name), mode="r:gz") as layer:
                layer.extractall(root, filter="fully_trusted")


_TRIAL = """
import importlib, importlib.util, json, sys
modules, absent = json.loads(sys.argv[1])
for name in modules:
    importlib.import_module(name)
present = [name for name in absent if importlib.util.find_spec(name)]
sys.exit(f"the image must not hold {present}" if present else 0)
"""


def try_image(spec: ImageSpec, out: Path) -> None:
    """Import the image's programs inside its own root file system, as its own user; needs root for chroot.

    Raises RootfsError if an import fails, a forbidden package is there, or a shell is.
    """
    modules = sorted(
        ".".join(place.with_suffix("").parts) for _, place in layers.source_files(spec) if place.name == "main.py"
    )
    absent = ABSENT_FROM_PROBE if spec is PROBE else ("pip",)
    with tempfile.TemporaryDirectory(prefix="evidencerun-image-") as scratch:
        root = Path(scratch)
        unpack(out / f"{spec.name}.tar", root)
        shells = [name for name in ("sh", "bash", "dash", "busybox") if os.path.lexists(root / "bin" / name)]
        if shells:
            raise rootfs.RootfsError(f"{spec.name} holds a shell: {', '.join(shells)}")
        root.chmod(0o755)
        command = ["chroot", f"--userspec={UID}:{UID}", str(root), "/usr/bin/python3", "-c", _TRIAL]
        environment = ENVIRONMENT | {"PATH": ociarchive.DEFAULT_PATH}
        done = subprocess.run([*command, json.dumps([modules, absent])], env=environment, check=False)
    if done.returncode:
        raise rootfs.RootfsError(f"{spec.name} does not work: see the message above")
    print(f"{spec.name}: imports {', '.join(modules)} as user {UID}; no shell, none of {', '.join(absent)}")


def check(out: Path) -> None:
    """Build twice, once into an empty cache, compare the digests, and try both images."""
    cache = rootfs.default_cache()
    first = build_all(out, cache)
    with tempfile.TemporaryDirectory(prefix="evidencerun-again-") as scratch:
        again = build_all(Path(scratch, "out"), Path(scratch, "cache"))
    if first != again:
        raise rootfs.RootfsError(f"two builds differ:\n  {first}\n  {again}")
    print("two builds, the second from nothing: the same digests")
    for spec in IMAGES:
        try_image(spec, out)


def main() -> int:
    """Build the images; with `check`, prove that they are reproducible and work."""
    parser = argparse.ArgumentParser(description="Build the images as OCI archives.")
    parser.add_argument("command", nargs="?", choices=("build", "check"), default="build")
    parser.add_argument("--out", type=Path, default=OUT, help="folder of the archives (default: build/images)")
    options = parser.parse_args()
    begun = time.monotonic()
    os.umask(0o022)  # modes are part of the digest, the building user's umask must not be
    try:
        if options.command == "check":
            check(options.out)
        else:
            build_all(options.out, rootfs.default_cache())
    except (rootfs.RootfsError, subprocess.CalledProcessError) as error:
        print(f"images: {error}", file=sys.stderr)
        return 1
    print(f"images: done in {time.monotonic() - begun:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
