# SPDX-License-Identifier: Apache-2.0
"""The bundle as one tar.gz: written with fixed metadata, read as something hostile.

Reading never extracts: members go into memory, under limits on compressed size, unpacked size, ratio, count and path.
Only regular files and directories are accepted. The limit sits below tarfile, because tarfile reads extended headers
whole before anybody can look at a member.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final, NoReturn, Protocol, Self

from evidencerun import limits
from evidencerun.bundle import layout
from evidencerun.errors import EvidenceError

_BLOCK: Final = 512
_LEVEL: Final = 6
"""Level 9 takes nine times as long for node reports, and saves four percent."""
_RATIO_FLOOR: Final = 4 * limits.MIB
"""Small archives may unpack to this much whatever their ratio: an empty log of zeros compresses a thousandfold."""
_EXTENDED: Final = frozenset(
    {
        tarfile.XHDTYPE,
        tarfile.XGLTYPE,
        tarfile.SOLARIS_XHDTYPE,
        tarfile.GNUTYPE_LONGNAME,
        tarfile.GNUTYPE_LONGLINK,
    }
)
"""Members that only say more about the member behind them."""
_HARMLESS_PAX: Final = frozenset(
    {"path", "mtime", "atime", "ctime", "uid", "gid", "uname", "gname", "comment", "charset", "hdrcharset"}
)


def write_archive(files: Mapping[str, bytes], mtime: int) -> bytes:
    """Return `files` as tar.gz: sorted by path, mode 0644, uid 0, `mtime` in seconds since 1970.

    Directories stand before what is in them. The tar bytes depend on `files` and `mtime` alone; the gzip bytes also
    depend on the zlib build, so whoever hashes the result must keep it.
    """
    return pack(files, mtime)[0]


def pack(files: Mapping[str, bytes], mtime: int) -> tuple[bytes, str]:
    """Return what `write_archive` does, and the `sha256:` digest of the tar archive in it, which is never in memory."""
    buffer = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", fileobj=buffer, compresslevel=_LEVEL, mtime=0) as zipped:
        tar = _Hashed(zipped)
        write_tar(tar, files, mtime)
    return buffer.getvalue(), tar.digest


class Target(Protocol):
    """What of a file is needed to write a tar archive to it."""

    def tell(self) -> int:
        """Return how many bytes have been written."""

    def write(self, data: bytes, /) -> object:
        """Take the next bytes."""


class _Hashed:
    """Hashes what it passes on."""

    def __init__(self, target: Target) -> None:
        self._hash = hashlib.sha256()
        self._target = target
        self.tell = target.tell

    @property
    def digest(self) -> str:
        return f"sha256:{self._hash.hexdigest()}"

    def write(self, data: bytes, /) -> None:
        self._hash.update(data)
        self._target.write(data)


def write_tar(target: Target, files: Mapping[str, bytes], mtime: int) -> None:
    """Write `files` to `target` as an uncompressed ustar archive, as `write_archive` lays it out."""
    archive = tarfile.TarFile(fileobj=target, mode="w", format=tarfile.USTAR_FORMAT)  # type: ignore[arg-type]
    for path in sorted(_folders(files) | files.keys()):
        member = tarfile.TarInfo(path)
        member.mtime = mtime
        if path in files:
            member.size, member.mode = len(files[path]), 0o644
            archive.addfile(member, io.BytesIO(files[path]))
        else:
            member.type, member.mode = tarfile.DIRTYPE, 0o755
            archive.addfile(member)
    # Closing it would fill up a record: Go's reader stops behind two blocks of zeros, and oras hashes what it read.
    target.write(b"\0" * (2 * _BLOCK))


def read_archive(data: bytes) -> dict[str, bytes]:
    """Return the files of a tar.gz by path, without a leading `./` and without one folder around everything.

    Raises:
        EvidenceError: E2001, it is no such archive, too large, or holds something else than plain files.

    """
    with _refusing_damage(), gzip.GzipFile(fileobj=io.BytesIO(data)) as zipped:
        files = _members(_Bounded(zipped, _allowed(data)))
    _refuse_clashes(files)
    return _without_outer_folder(files)


def tar_digest(data: bytes) -> str:
    """Return the `sha256:` digest of the tar archive in a tar.gz, under the limits of `read_archive`.

    Raises:
        EvidenceError: E2001, it is no gzip file or too large.

    """
    found = hashlib.sha256()
    with _refusing_damage(), gzip.GzipFile(fileobj=io.BytesIO(data)) as zipped:
        source = _Bounded(zipped, _allowed(data))
        while piece := source.read(limits.MIB):
            found.update(piece)
    return f"sha256:{found.hexdigest()}"


def _allowed(data: bytes) -> int:
    """Return how many bytes an archive may unpack to, headers included."""
    if len(data) > limits.BUNDLE_ARCHIVE_MAX:
        _refuse("", f"{len(data)} bytes found, at most {limits.BUNDLE_ARCHIVE_MAX} are read")
    by_ratio = max(_RATIO_FLOOR, limits.BUNDLE_RATIO_MAX * len(data))
    return min(limits.BUNDLE_MAX, by_ratio) + 2 * _BLOCK * limits.BUNDLE_FILES_MAX


@contextmanager
def _refusing_damage() -> Iterator[None]:
    try:
        yield
    except (tarfile.TarError, OSError, EOFError, zlib.error, ValueError, RecursionError) as fault:
        # RecursionError: tarfile calls itself once for each extended header that stands before a member.
        raise EvidenceError(
            "E2001", "the file is not a readable tar.gz archive", why=f"{type(fault).__name__}: {fault}"
        ) from fault


class _Bounded:
    """A reader that stops after so many bytes, whatever is asked of it."""

    def __init__(self, source: gzip.GzipFile, left: int) -> None:
        self._source = source
        self._left = left

    def read(self, size: int) -> bytes:
        """Return up to `size` bytes; refuse once the budget is used up."""
        data = self._source.read(size)
        self._left -= len(data)
        if self._left < 0:
            _refuse("", "it unpacks to more than its size and the limits allow")
        return data


class _Header(tarfile.TarInfo):
    """A header that is looked at before tarfile reads what belongs to it.

    tarfile searches an extended header in time that grows with the square of its length, reads any number of them, and
    makes a list as long as the archive of the holes of a sparse file. A block that is no header it takes for the end.
    """

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        """Return the header in a block. Zeros or nothing at all end the archive, anything else breaks it."""
        try:
            return super().frombuf(buf, encoding, errors)
        except tarfile.HeaderError as fault:
            if not bytes(buf).strip(b"\0"):
                raise
            raise tarfile.ReadError(f"a block is no header: {fault}") from fault

    def _proc_member(self, archive: _Archive) -> tarfile.TarInfo:
        if self.type == tarfile.GNUTYPE_SPARSE:
            self._proc_gnusparse_00()
        if self.type in _EXTENDED:
            archive.extended += 1
            if not 0 <= self.size <= limits.TAR_HEADER_MAX or archive.extended > 2 * limits.BUNDLE_FILES_MAX:
                _refuse(self.name, "it has an extended header that is too long, or too many of them")
        member: tarfile.TarInfo = super()._proc_member(archive)  # type: ignore[misc]
        return member

    def _proc_gnusparse_00(self, *_: object) -> NoReturn:
        _refuse(self.name, "it is a sparse file")

    _proc_gnusparse_01 = _proc_gnusparse_10 = _proc_gnusparse_00


class _Archive(tarfile.TarFile):
    """A tar archive that counts its extended headers."""

    tarinfo = _Header
    extended = 0


def _members(source: _Bounded) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    seen: set[str] = set()
    with _Archive.open(fileobj=source, mode="r|") as archive:  # type: ignore[call-overload]
        for member in archive:
            path = _path(member)
            if not path:
                continue
            if path in seen or len(seen) >= limits.BUNDLE_FILES_MAX:
                _refuse(path, "a path stands twice" if path in seen else "too many members")
            seen.add(path)
            if member.isreg():
                files[path] = _content(archive, member)
        _nothing_behind_the_end(archive)
    return files


def _refuse_clashes(files: Mapping[str, bytes]) -> None:
    """Refuse paths that cannot stand beside each other in every file system: all of them may be written to one."""
    names = {path.lower() for path in files}
    folders = {path.lower() for path in _folders(files)}
    if len(names) < len(files) or names & folders:
        odd = min(names & folders, default="")
        _refuse(odd, "a path is a file and a folder" if odd else "two paths differ in upper and lower case only")


def _nothing_behind_the_end(archive: tarfile.TarFile) -> None:
    """Refuse what stands behind the end of the archive: some programs would unpack it, and nobody has judged it."""
    stream = archive.fileobj
    while stream is not None and (rest := stream.read(limits.MIB)):
        if rest.strip(b"\0"):
            _refuse("", "something stands behind the end of the archive")


def _path(member: tarfile.TarInfo) -> str:
    """Return the member's path; an empty one for the root folder itself."""
    path = member.name
    while path.startswith("./"):
        path = path[2:]
    if member.isdir():
        path = path.rstrip("/")
        if path in ("", "."):
            return ""
    elif not member.isreg() or member.sparse is not None:
        _refuse(path, f"it is neither a regular file nor a directory (type {member.type!r})")
    if odd := sorted(member.pax_headers.keys() - _HARMLESS_PAX):
        _refuse(path, f"it has the extended header {odd[0]}")
    if not layout.is_plain_path(path):
        _refuse(path, "its name is not a plain relative path")
    return path


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    if member.size > limits.BUNDLE_FILE_MAX:
        _refuse(member.name, f"{member.size} bytes found, at most {limits.BUNDLE_FILE_MAX} are read")
    source = archive.extractfile(member)
    buffer = io.BytesIO()
    while source and (piece := source.read(limits.MIB)):
        buffer.write(piece)
    data = buffer.getvalue()
    if len(data) != member.size:
        _refuse(member.name, f"{len(data)} of {member.size} bytes found")
    return data


def _without_outer_folder(files: dict[str, bytes]) -> dict[str, bytes]:
    if not files:
        _refuse("", "it holds no file")
    folders = {path.partition("/")[0] for path in files}
    if len(folders) != 1 or any("/" not in path for path in files):
        return files
    return {path.partition("/")[2]: data for path, data in files.items()}


def _folders(files: Mapping[str, bytes]) -> set[str]:
    found: set[str] = set()
    for path in files:
        parts = path.split("/")[:-1]
        found.update("/".join(parts[: depth + 1]) for depth in range(len(parts)))
    return found


def _refuse(where: str, why: str) -> NoReturn:
    raise EvidenceError(
        "E2001",
        "the archive is refused",
        where=ascii(where)[1:-1][:120],
        why=why,
        fix="do not unpack it with other tools; fetch the bundle again",
    )
