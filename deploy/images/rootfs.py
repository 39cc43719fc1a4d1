# SPDX-License-Identifier: Apache-2.0
"""Make root file systems from Debian packages, without Docker, debootstrap or maintainer scripts.

Packages are fetched with ``apt-get download`` from the suites that this machine's apt knows, checked against apt's own
SHA-256, kept in a cache directory keyed by the exact files, and unpacked with ``dpkg -x``. Nothing in them is run.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

PYTHON_PACKAGES = (
    "base-files",
    "netbase",
    "tzdata",
    "ca-certificates",
    "libc6",
    "libgcc-s1",
    "libcrypt1",
    "zlib1g",
    "libexpat1",
    "libssl3",
    "libffi8",
    "libbz2-1.0",
    "liblzma5",
    "libsqlite3-0",
    "libuuid1",
    "libncursesw6",
    "libtinfo6",
    "libreadline8",
    "libnsl2",
    "libtirpc3",
    "libdb5.3",
    "libgssapi-krb5-2",
    "media-types",
    "python3.11-minimal",
    "libpython3.11-minimal",
    "libpython3.11-stdlib",
    "python3.11",
    "dash",
)
"""A complete CPython 3.11 (ssl, sqlite, ctypes, lzma) with dash as /bin/sh and CA certificates, on Debian 12."""

_UNWANTED = (
    "usr/share/doc",
    "usr/share/man",
    "usr/share/locale",
    "usr/share/info",
    "usr/share/lintian",
    "usr/share/bug",
    "usr/share/zoneinfo",
    "usr/lib/python3.11/test",
    "usr/lib/python3.11/idlelib",
    "usr/lib/python3.11/lib2to3",
    "usr/lib/python3.11/ensurepip",
    "usr/lib/python3.11/distutils/tests",
    "usr/lib/python3.11/pydoc_data",
    "usr/lib/python3.11/turtledemo",
)
_URI_LINE = re.compile(r"^'(?P<uri>[^']+)' (?P<file>\S+) (?P<size>\d+) SHA256:(?P<sha256>[0-9a-f]{64})$")


class RootfsError(Exception):
    """A root file system could not be made; the message says what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deb:
    """One Debian package file: package name, version, architecture, and the SHA-256 that apt vouches for."""

    package: str
    version: str
    architecture: str
    file: str
    sha256: str


def default_cache() -> Path:
    """The cache directory outside the checkout: $EVIDENCERUN_CACHE, else /var/cache/evidencerun, else ~/.cache."""
    chosen = os.environ.get("EVIDENCERUN_CACHE")
    if chosen:
        return Path(chosen)
    system = Path("/var/cache/evidencerun")
    if os.access(system if system.exists() else system.parent, os.W_OK):
        return system
    return Path.home() / ".cache" / "evidencerun"


def mark_used(entry: Path) -> None:
    """Set the time of last use of an entry of the cache, by which `deploy/local/tools prune` judges it."""
    with contextlib.suppress(OSError):
        os.utime(entry)


def _apt(*args: str, cwd: Path | None = None) -> str:
    command = ["apt-get", "-q", "-o", "APT::Sandbox::User=root", *args]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RootfsError(
            f"{' '.join(command)} failed: {done.stderr.strip() or done.stdout.strip()}\n"
            "fix: run `apt-get update` once as root, and check that the package is in this machine's suites"
        )
    return done.stdout


def _deb(match: re.Match[str]) -> Deb:
    package, version, architecture = match["file"].removesuffix(".deb").split("_")
    return Deb(
        package=package,
        version=version.replace("%3a", ":"),
        architecture=architecture,
        file=match["file"],
        sha256=match["sha256"],
    )


def resolve(packages: Iterable[str]) -> list[Deb]:
    """Ask apt which files it would fetch for exactly `packages` (no dependencies); sorted by package name."""
    wanted = sorted(set(packages))
    lines = _apt("download", "--print-uris", *wanted).splitlines()
    debs = sorted((_deb(m) for m in map(_URI_LINE.match, lines) if m), key=lambda deb: deb.package)
    missing = set(wanted) - {deb.package for deb in debs}
    if missing:
        raise RootfsError(f"apt names no file with a SHA-256 for: {', '.join(sorted(missing))}")
    return debs


def _sha256(path: Path) -> str:
    with path.open("rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()


def fetch(debs: Sequence[Deb], cache: Path) -> Path:
    """Return a directory that holds every file of `debs`, downloading them unless they are cached; all are verified."""
    key = hashlib.sha256("\n".join(f"{deb.file} {deb.sha256}" for deb in debs).encode()).hexdigest()[:16]
    home = cache / "debs" / key
    if not home.is_dir():
        unfinished = home.with_name(f"{key}.{os.getpid()}.part")
        unfinished.mkdir(parents=True)
        _apt("download", *(f"{deb.package}={deb.version}" for deb in debs), cwd=unfinished)
        try:
            unfinished.rename(home)
        except OSError:  # another process was faster; its files are verified below like ours
            shutil.rmtree(unfinished)
    mark_used(home)
    for deb in debs:
        if _sha256(home / deb.file) != deb.sha256:
            raise RootfsError(f"{home / deb.file} is not the file apt vouches for; fix: delete {home} and run again")
    return home


def extract_debs(packages: Iterable[str], dest: Path, *, cache: Path | None = None) -> list[Deb]:
    """Unpack exactly `packages` (no dependency resolution) into `dest`, which is made if needed.

    Returns what was unpacked, with versions and digests, sorted by package name: the software list of the image.
    Raises RootfsError when apt does not know a package or a file does not have the digest that apt states.
    """
    debs = resolve(packages)
    home = fetch(debs, cache or default_cache())
    dest.mkdir(parents=True, exist_ok=True)
    for deb in debs:
        subprocess.run(["dpkg", "-x", str(home / deb.file), str(dest)], check=True)
    return debs


def slim(dest: Path, unwanted: Sequence[str] = _UNWANTED) -> None:
    """Remove documentation, translations, time zones and the standard library's own tests from `dest`."""
    for name in unwanted:
        shutil.rmtree(dest / name, ignore_errors=True)


def _link(path: Path, target: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.symlink_to(target)


def finish_python(dest: Path) -> None:
    """What maintainer scripts would have done for `PYTHON_PACKAGES`: /usr/bin/python3, /bin/sh and the CA bundle."""
    _link(dest / "usr/bin/python3", "python3.11")
    _link(dest / "bin/sh", "dash")
    certificates = sorted((dest / "usr/share/ca-certificates").rglob("*.crt"))
    bundle = dest / "etc/ssl/certs/ca-certificates.crt"
    bundle.parent.mkdir(parents=True, exist_ok=True)
    bundle.write_bytes(b"".join(path.read_bytes() for path in certificates))


def accounts(dest: Path, users: Mapping[str, int]) -> None:
    """Write /etc/passwd and /etc/group: root, nobody and `users` (name -> uid = gid); make /tmp writable for all."""
    everybody = {"root": 0, **users, "nobody": 65534}
    etc = dest / "etc"
    etc.mkdir(parents=True, exist_ok=True)
    passwd = [f"{name}:x:{uid}:{uid}:{name}:/:/usr/sbin/nologin\n" for name, uid in everybody.items()]
    (etc / "passwd").write_text("".join(passwd), encoding="ascii")
    group = [f"{name}:x:{gid}:\n" for name, gid in everybody.items()]
    (etc / "group").write_text("".join(group), encoding="ascii")
    (dest / "tmp").mkdir(exist_ok=True)
    (dest / "tmp").chmod(0o1777)


def compile_python(dest: Path, folders: Sequence[str]) -> None:
    """Byte-compile `folders` (relative to `dest`) for a read-only image, reproducibly.

    The byte code is unchecked-hash (no times in it) and names the paths inside the image. The interpreter that runs
    this must have the image's minor version, for byte code differs between them.
    """
    if sys.version_info[:2] != (3, 11):
        raise RootfsError(f"byte code for Python 3.11 needs Python 3.11; this is {sys.version.split()[0]}")
    command = [sys.executable, "-I", "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash"]
    command += ["-s", str(dest), "-p", "/", *(str(dest / folder) for folder in folders)]
    environment = {"PATH": os.environ.get("PATH", ""), "PYTHONHASHSEED": "0"}
    subprocess.run(command, check=True, env=environment)
