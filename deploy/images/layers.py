# SPDX-License-Identifier: Apache-2.0
"""The three layers of an image, each made once per set of inputs and kept in the cache directory.

* base: Debian packages with CPython, byte-compiled; shared by both images
* requirements: wheels that the lock file names by hash, without what only a developer needs
* code: our own packages; the only layer that changes in daily work, made in seconds
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import rootfs
from imagespec import BASE_PACKAGES, REPOSITORY, SITE, UID, ImageSpec
from ociarchive import Layer, make_layer

HERE = Path(__file__).resolve().parent
BUILDERS = ("rootfs.py", "ociarchive.py", "imagespec.py", "layers.py")
"""Programs whose text is part of every cache key: a changed builder rebuilds all."""

UNWANTED_FILES = ("*.pyi", "*.pyx", "*.pxd", "*.c", "*.h", "RECORD", "INSTALLER", "REQUESTED", "direct_url.json")
"""Not read at run time; RECORD names the building machine's interpreter, which no reproducible image can hold."""
UNWANTED_FOLDERS = ("bin", "share", "kubernetes/docs", "kubernetes/test", "kubernetes/e2e_test")
UNWANTED_TESTS = ("*/tests", "*/test")
UNWANTED_BASE = ("usr/lib/x86_64-linux-gnu/gconv", "usr/share/gcc", "usr/share/gdb", "usr/share/python3")
"""Character sets for C's iconv and debugger helpers: CPython has its own codecs."""


def _key(*parts: bytes) -> str:
    """The cache key: `parts`, the builders, and the versions that shape byte code and compression."""
    digest = hashlib.sha256(f"{sys.version}\0{zlib.ZLIB_RUNTIME_VERSION}".encode())
    for part in (*(HERE.joinpath(name).read_bytes() for name in BUILDERS), *parts):
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()[:16]


def _read(home: Path) -> Layer:
    facts = json.loads((home / "layer.json").read_text(encoding="ascii"))
    return Layer(path=home / "layer.tar.gz", **facts)


def _store(layer: Layer, home: Path) -> None:
    facts = {"digest": layer.digest, "diff_id": layer.diff_id, "size": layer.size}
    (home / "layer.json").write_text(json.dumps(facts), encoding="ascii")


def _cached(cache: Path, name: str, fill: Callable[[Path], None]) -> Layer:
    """Return the layer called `name`, made by `fill(root)` and packed unless the cache has it.

    The folder appears under its name only when it is complete, so a build that was interrupted leaves no half layer.
    """
    home = cache / "layers" / name
    if (home / "layer.json").exists():
        rootfs.mark_used(home)
        return _read(home)
    home.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=home.parent, prefix=".making-") as scratch:
        root, packed = Path(scratch, "root"), Path(scratch, "packed")
        root.mkdir(mode=0o755)
        packed.mkdir()
        fill(root)
        _store(make_layer(root, packed / "layer.tar.gz"), packed)
        try:
            packed.rename(home)
        except OSError:  # another process was faster; the same inputs gave it the same bytes
            if not (home / "layer.json").exists():
                raise
    return _read(home)


def _fill_base(root: Path, cache: Path) -> None:
    debs = rootfs.extract_debs(BASE_PACKAGES, root, cache=cache)
    rootfs.slim(root)
    rootfs.slim(root, UNWANTED_BASE)
    rootfs.finish_python(root)
    (root / "bin/sh").unlink()
    rootfs.accounts(root, {"evidencerun": UID})
    rootfs.compile_python(root, ["usr/lib/python3.11"])
    listing = [{"package": deb.package, "version": deb.version, "sha256": deb.sha256} for deb in debs]
    folder = root / "usr/share/evidencerun"
    folder.mkdir(parents=True)
    (folder / "debian-packages.json").write_text(json.dumps(listing, indent=2) + "\n", encoding="ascii")


def base_layer(cache: Path) -> Layer:
    """CPython 3.11 from Debian packages, with the list of their versions and digests in /usr/share/evidencerun."""
    debs = rootfs.resolve(BASE_PACKAGES)
    key = _key("\n".join(f"{deb.file} {deb.sha256}" for deb in debs).encode())
    return _cached(cache, f"base-{key}", lambda root: _fill_base(root, cache))


def _pip_install(requirements: Path, target: Path) -> None:
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--require-hashes", "--only-binary", ":all:", "--no-compile", "--root-user-action", "ignore"]
    subprocess.run([*command, "--target", str(target), "-r", str(requirements)], check=True)


def _prune(site: Path) -> None:
    for name in UNWANTED_FOLDERS:
        shutil.rmtree(site / name, ignore_errors=True)
    for pattern in UNWANTED_TESTS:
        for folder in site.glob(pattern):
            shutil.rmtree(folder)
    for pattern in UNWANTED_FILES:
        for path in site.rglob(pattern):
            path.unlink()


def _fill_requirements(root: Path, spec: ImageSpec) -> None:
    site = root / SITE
    site.mkdir(parents=True)
    _pip_install(spec.requirements_path, site)
    _prune(site)
    rootfs.compile_python(root, [SITE])
    _plain_modes(root)


def requirements_layer(spec: ImageSpec, cache: Path) -> Layer:
    """The third-party packages of `spec`, exactly those that its locked requirements name by hash."""
    key = _key(spec.requirements_path.read_bytes())
    return _cached(cache, f"requirements-{spec.name}-{key}", lambda root: _fill_requirements(root, spec))


def source_files(spec: ImageSpec) -> Iterator[tuple[Path, Path]]:
    """Every file of ours that the image holds: (path in the repository, path below the site folder), sorted."""
    for source, place in sorted(spec.sources.items()):
        path = REPOSITORY / source
        if not path.exists():
            raise rootfs.RootfsError(f"{path} does not exist; fix: complete the checkout, or correct imagespec.py")
        files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
        for file in files:
            if "__pycache__" not in file.parts:
                yield file, Path(place) / file.relative_to(path) if path.is_dir() else Path(place)


def _fill_code(root: Path, files: Iterable[tuple[Path, Path]]) -> None:
    for source, place in files:
        target = root / SITE / place
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
    rootfs.compile_python(root, [SITE])
    _plain_modes(root)


def code_layer(spec: ImageSpec, cache: Path) -> Layer:
    """Our own packages, byte-compiled."""
    files = list(source_files(spec))
    key = _key(*(part for source, place in files for part in (os.fsencode(place), source.read_bytes())))
    return _cached(cache, f"code-{spec.name}-{key}", lambda root: _fill_code(root, files))


def _plain_modes(root: Path) -> None:
    """0755 for folders and 0644 for files, whatever the umask of the building user is."""
    for path in (root, *root.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() else 0o644)
