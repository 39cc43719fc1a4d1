# SPDX-License-Identifier: Apache-2.0
"""Write OCI image archives (image layout in one tar) from plain directories, reproducibly and without Docker.

The same input tree gives the same bytes: entries are sorted, every modification time is 0, every owner is 0:0, the
gzip header carries no time and no name. A layer is compressed once, while it is hashed; its bytes are then copied into
the archive unchanged. (Other zlib builds may compress differently: digests compare between equal machines only.)

The archive is an OCI image layout and carries Docker's ``manifest.json`` as well, so that ``ctr images import``,
``docker load`` and ``kind load image-archive`` all take it.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import json
import os
import tarfile
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar+gzip"
INDEX_TYPE = "application/vnd.oci.image.index.v1+json"
_EPOCH = "1970-01-01T00:00:00Z"
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """One compressed layer on disk: the file, its digest and size, and the digest of the tar inside it."""

    path: Path
    digest: str
    diff_id: str
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Blob:
    """Descriptor of a JSON document that goes into the archive."""

    digest: str
    data: bytes

    @property
    def descriptor(self) -> dict[str, Any]:
        """Digest and size, without the media type."""
        return {"digest": self.digest, "size": len(self.data)}


class _HashingWriter(io.RawIOBase):
    """Pass bytes through to `target` and hash them on the way."""

    def __init__(self, target: BinaryIO) -> None:
        self._target = target
        self._hash = hashlib.sha256()
        self.size = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:
        view = bytes(data)
        self._hash.update(view)
        self.size += len(view)
        self._target.write(view)
        return len(view)

    @property
    def digest(self) -> str:
        return "sha256:" + self._hash.hexdigest()


def _normalised(info: tarfile.TarInfo) -> tarfile.TarInfo:
    info.mtime = 0
    info.uid = info.gid = 0
    info.uname = info.gname = ""
    return info


def _entries(root: Path) -> Iterator[Path]:
    """Every path below `root`, parents first, in byte order of names: the order of the tar."""
    for entry in sorted(root.iterdir(), key=lambda path: os.fsencode(path.name)):
        yield entry
        if entry.is_dir() and not entry.is_symlink():
            yield from _entries(entry)


def _write_tar(root: Path, target: Any) -> None:
    with tarfile.open(fileobj=target, mode="w|", format=tarfile.PAX_FORMAT) as tar:
        for path in _entries(root):
            info = _normalised(tar.gettarinfo(str(path), arcname=str(path.relative_to(root))))
            if info.isreg():
                with path.open("rb") as source:
                    tar.addfile(info, source)
            else:
                tar.addfile(info)


def make_layer(root: Path, out: Path, *, level: int = 6) -> Layer:
    """Pack the directory `root` into the gzip-compressed tar layer `out` and return its description.

    Owners become 0:0 and times 0; modes, symbolic and hard links are kept as they are. Use it when several images share
    a layer: it is compressed once and handed to `write` for each of them.
    """
    with out.open("wb") as raw:
        outer = _HashingWriter(raw)
        with gzip.GzipFile(filename="", mode="wb", fileobj=outer, compresslevel=level, mtime=0) as packed:
            inner = _HashingWriter(packed)  # type: ignore[arg-type]
            _write_tar(root, inner)
    return Layer(path=out, digest=outer.digest, diff_id=inner.digest, size=outer.size)


def _blob(document: Mapping[str, Any]) -> Blob:
    data = json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
    return Blob(digest="sha256:" + hashlib.sha256(data).hexdigest(), data=data)


def _config(layers: Sequence[Layer], run: Mapping[str, Any]) -> Blob:
    return _blob(
        {
            "architecture": "amd64",
            "os": "linux",
            "created": _EPOCH,
            "config": run,
            "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]},
            "history": [{"created": _EPOCH, "created_by": "ociarchive"} for _ in layers],
        }
    )


def _manifest(config: Blob, layers: Sequence[Layer]) -> Blob:
    return _blob(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": {"mediaType": CONFIG_TYPE, **config.descriptor},
            "layers": [{"mediaType": LAYER_TYPE, "digest": layer.digest, "size": layer.size} for layer in layers],
        }
    )


def _index(ref: str, manifest: Blob) -> bytes:
    names = {"io.containerd.image.name": ref, "org.opencontainers.image.ref.name": ref.rpartition(":")[2]}
    entry = {
        "mediaType": MANIFEST_TYPE,
        **manifest.descriptor,
        "annotations": names,
        "platform": {"architecture": "amd64", "os": "linux"},
    }
    return _blob({"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": [entry]}).data


def _docker_manifest(ref: str, config: Blob, layers: Sequence[Layer]) -> bytes:
    entry = {
        "Config": _blob_path(config.digest),
        "RepoTags": [ref],
        "Layers": [_blob_path(layer.digest) for layer in layers],
    }
    return json.dumps([entry], sort_keys=True).encode()


def _blob_path(digest: str) -> str:
    return "blobs/sha256/" + digest.removeprefix("sha256:")


def _add_bytes(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    info = _normalised(tarfile.TarInfo(name))
    info.size = len(data)
    tar.addfile(info, io.BytesIO(data))


def _add_file(tar: tarfile.TarFile, name: str, path: Path) -> None:
    info = _normalised(tarfile.TarInfo(name))
    info.size = path.stat().st_size
    with path.open("rb") as source:
        tar.addfile(info, source)


def _write_archive(out: Path, ref: str, config: Blob, layers: Sequence[Layer]) -> str:
    manifest = _manifest(config, layers)
    unfinished = out.with_name(out.name + ".part")
    with tarfile.open(unfinished, "w", format=tarfile.PAX_FORMAT) as tar:
        _add_bytes(tar, "oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
        _add_bytes(tar, "index.json", _index(ref, manifest))
        _add_bytes(tar, "manifest.json", _docker_manifest(ref, config, layers))
        for blob in (config, manifest):
            _add_bytes(tar, _blob_path(blob.digest), blob.data)
        for layer in {layer.digest: layer for layer in layers}.values():
            _add_file(tar, _blob_path(layer.digest), layer.path)
    unfinished.replace(out)
    return manifest.digest


def _run_config(
    *,
    entrypoint: Sequence[str],
    command: Sequence[str],
    user: str,
    env: Mapping[str, str],
    workdir: str,
    labels: Mapping[str, str],
) -> dict[str, Any]:
    variables = {"PATH": DEFAULT_PATH, **env}
    run: dict[str, Any] = {
        "Env": [f"{name}={value}" for name, value in sorted(variables.items())],
        "WorkingDir": workdir,
    }
    optional = {"Entrypoint": list(entrypoint), "Cmd": list(command), "User": user, "Labels": dict(labels)}
    return run | {name: value for name, value in optional.items() if value}


def write(
    source: Path | Sequence[Path | Layer],
    ref: str,
    out: Path,
    *,
    entrypoint: Sequence[str] = (),
    command: Sequence[str] = (),
    user: str = "",
    env: Mapping[str, str] | None = None,
    workdir: str = "/",
    labels: Mapping[str, str] | None = None,
    level: int = 6,
) -> str:
    """Write the OCI archive `out` named `ref` ("registry/name:tag") and return its manifest digest, "sha256:<hex>".

    `source` is one root file system directory, or a sequence of layers from bottom to top, each a directory or a
    `Layer` made by `make_layer`. `user` is the image's user as in a Dockerfile ("10001:10001"). PATH gets a default
    unless `env` sets it. `out` appears only when it is complete. The digest is what `name@sha256:...` refers to.
    """
    parts: Sequence[Path | Layer] = [source] if isinstance(source, Path) else source
    run = _run_config(
        entrypoint=entrypoint, command=command, user=user, env=env or {}, workdir=workdir, labels=labels or {}
    )
    with contextlib.ExitStack() as stack:
        spool = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=out.parent, prefix=".layers-")))
        layers = [
            part if isinstance(part, Layer) else make_layer(part, spool / str(number), level=level)
            for number, part in enumerate(parts)
        ]
        return _write_archive(out, ref, _config(layers, run), layers)
