# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import gzip
import io
import tarfile
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evidencerun import limits
from evidencerun.bundle import layout
from evidencerun.bundle.archive import read_archive, tar_digest, write_archive, write_tar
from evidencerun.bundle.artifact import build_artifact
from evidencerun.bundle.artifact_reader import read_artifact
from evidencerun.canonical import sha256_prefixed
from evidencerun.errors import EvidenceError

FILES = {"recipe.yaml": b"a: 1\n", "ctrf/deployment.json": b"{}", "logs/a/b.1.log": b""}
SEGMENT = st.from_regex(r"[A-Za-z0-9_@=-][A-Za-z0-9._+@=-]{0,20}", fullmatch=True)


def archive(*members, form=tarfile.USTAR_FORMAT, zipped=True):
    """Return a tar.gz of (name, data, changes)."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as tar:
        for name, data, changes in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            for key, value in changes.items():
                setattr(info, key, value)
            tar.addfile(info, io.BytesIO(data))
    return gzip.compress(buffer.getvalue(), mtime=0) if zipped else buffer.getvalue()


def block(kind, data=b"", *, size=None):
    """Return a header of this type, with a size that it need not have, and its data."""
    info = tarfile.TarInfo("a")
    info.type, info.size = kind, len(data) if size is None else size
    return info.tobuf(tarfile.GNU_FORMAT) + data + b"\0" * (-len(data) % 512)


def extended(kind, data, *behind, size=None, times=1):
    """Return a tar.gz that begins with so many headers of this type, each followed by one of the types `behind`."""
    one = block(kind, data, size=size) + b"".join(block(other) for other in behind)
    return gzip.compress(one * times + block(tarfile.REGTYPE, b"x") + b"\0" * 1024, mtime=0)


def changed(header, place, data):
    """Return a header with other bytes at a place, and the checksum that belongs to them."""
    header = bytearray(header)
    header[place : place + len(data)] = data
    header[148:156] = b"        "
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header)


def sparse_map(blocks):
    """Return a tar.gz with an old GNU sparse header and so many further blocks of its map."""
    header = changed(block(tarfile.GNUTYPE_SPARSE), 482, b"\1")
    entries = (b"%011o\0%011o\0" % (512, 512)) * 21 + b"\1" + b"\0" * 7
    return gzip.compress(header + entries * blocks + b"\0" * 1024, mtime=0)


def sparse_numbers(count):
    """Return a tar.gz with a PAX sparse file of version 1.0 whose map has so many holes."""
    records = b"22 GNU.sparse.major=1\n" + b"22 GNU.sparse.minor=0\n"
    numbers = b"%d\n" % count + b"1\n" * (2 * count)
    return gzip.compress(block(b"x", records) + block(b"0", numbers) + b"\0" * 1024, mtime=0)


def plain(name="a", data=b"x", **changes):
    return (name, data, changes)


HOSTILE = {
    "parent_folder": archive(plain("../a")),
    "parent_folder_inside": archive(plain("a/../../b")),
    "absolute_path": archive(plain("/etc/passwd")),
    "backslash": archive(plain("a\\b")),
    "drive_letter": archive(plain("C:a")),
    "control_character": archive(plain("a\nb")),
    "hidden_file": archive(plain(".bashrc")),
    "right_to_left": archive(plain("a\u202eb"), form=tarfile.PAX_FORMAT),
    "symbolic_link": archive(plain("a", b"", type=tarfile.SYMTYPE, linkname="/etc/passwd")),
    "hard_link": archive(plain("a"), plain("b", b"", type=tarfile.LNKTYPE, linkname="a")),
    "device": archive(plain("a", b"", type=tarfile.CHRTYPE)),
    "fifo": archive(plain("a", b"", type=tarfile.FIFOTYPE)),
    "contiguous": archive(plain("a", b"", type=tarfile.CONTTYPE, linkname="x"), plain("a")),
    "same_path_twice": archive(plain("a"), plain("a", b"y")),
    "same_path_twice_by_prefix": archive(plain("a"), plain("./a", b"y")),
    "file_and_folder": archive(plain("a"), plain("a", b"", type=tarfile.DIRTYPE)),
    "file_and_folder_by_path": archive(plain("b"), plain("a"), plain("a/b")),
    "folder_by_path_and_file": archive(plain("b"), plain("a/b"), plain("a")),
    "upper_and_lower_case": archive(plain("b"), plain("a"), plain("A")),
    "file_and_folder_in_upper_and_lower_case": archive(plain("b"), plain("a"), plain("A/b")),
    "sparse": archive(
        plain("a", b"", pax_headers={"GNU.sparse.major": "1", "GNU.sparse.minor": "0"}), form=tarfile.PAX_FORMAT
    ),
    "extended_attribute": archive(plain("a", pax_headers={"SCHILY.xattr.user.x": "y"}), form=tarfile.PAX_FORMAT),
    "too_long_name": archive(plain("a" * 201), form=tarfile.PAX_FORMAT),
    "too_many_members": archive(*(plain(f"f{number}", b"") for number in range(limits.BUNDLE_FILES_MAX + 1))),
    "no_member": archive(),
    "only_a_folder": archive(plain("a", b"", type=tarfile.DIRTYPE)),
    "not_gzip": archive(plain(), zipped=False),
    "not_tar": gzip.compress(b"x" * 2000),
    "empty": b"",
    "truncated_gzip": archive(plain("a", b"x" * 5000))[:-20],
    "truncated_tar": gzip.compress(archive(plain("a", b"x" * 5000), zipped=False)[:3000]),
    "gzip_bomb": gzip.compress(archive(plain("a", b"\0" * (64 * limits.MIB)), zipped=False)),
    "two_archives": gzip.compress(archive(plain("a"), zipped=False) + archive(plain("b"), zipped=False)),
    "two_archives_in_two_gzip_members": archive(plain("a")) + archive(plain("b")),
    "behind_the_gzip_end": archive(plain("a")) + b"x",
    "negative_size": extended(b"0", b"", size=-1024),
    "digits_in_a_pax_header": extended(b"x", b"1" * 3 * limits.MIB),
    "digits_in_a_global_pax_header": extended(b"g", b"1" * 3 * limits.MIB),
    "long_name_of_megabytes": extended(b"L", b"a" * 3 * limits.MIB),
    "negative_pax_header": extended(b"x", b"", size=-1024),
    "pax_headers_without_end": extended(b"x", b"10 path=a\n", times=3000),
    "global_pax_headers_without_end": extended(b"g", b"10 path=a\n", times=3000),
    "long_names_without_end": extended(b"L", b"a\0", times=3000),
    "long_links_without_end": extended(b"K", b"a\0", times=3000),
    "sparse_map_without_end": sparse_map(20_000),
    "sparse_numbers_without_end": sparse_numbers(2_000_000),
    "last_block_no_header": gzip.compress(block(b"0", b"x") + b"junk".ljust(512, b"\0") + b"\0" * 1024, mtime=0),
    "last_block_with_a_mode_that_others_take": gzip.compress(
        block(b"0", b"x") + changed(block(tarfile.SYMTYPE), 100, b"none\0") + b"\0" * 1024, mtime=0
    ),
    "an_extended_header_on_each_of_5000_folders": extended(b"x", b"11 path=./\n", b"5", times=5000),
}


@pytest.mark.parametrize("defect", HOSTILE)
def test_hostile_archives_are_refused(defect):
    with pytest.raises(EvidenceError) as caught:
        read_archive(HOSTILE[defect])
    assert caught.value.code == "E2001"


@pytest.mark.parametrize("data", [sparse_map(20_000), sparse_numbers(2_000_000)])
def test_the_map_of_a_sparse_file_is_not_read(data):
    tracemalloc.start()
    try:
        with pytest.raises(EvidenceError, match="sparse"):
            read_archive(data)
        assert tracemalloc.get_traced_memory()[1] < 4 * limits.MIB
    finally:
        tracemalloc.stop()


def test_a_header_that_claims_gigabytes_is_refused_at_once():
    header = bytearray(archive(plain("a"), zipped=False)[:512])
    header[124:136] = b"\x80" + (1 << 40).to_bytes(11, "big")
    header[156:157] = b"x"
    header[148:156] = b"        "
    header[148:156] = b"%06o\0 " % sum(header)
    with pytest.raises(EvidenceError):
        read_archive(gzip.compress(bytes(header) + b"\0" * 4096))


def test_an_archive_larger_than_the_limit_is_not_even_inflated(monkeypatch):
    monkeypatch.setattr(limits, "BUNDLE_ARCHIVE_MAX", 10)
    with pytest.raises(EvidenceError, match="at most 10"):
        read_archive(write_archive(FILES, 0))


def test_what_was_written_is_read():
    assert read_archive(write_archive(FILES, 1_789_000_000)) == FILES


@given(
    files=st.dictionaries(
        st.lists(SEGMENT, min_size=1, max_size=3).map("/".join), st.binary(max_size=200), min_size=2, max_size=6
    )
)
def test_any_files_survive(files):
    names = set(files)
    folded = {name.lower() for name in names}
    clash = any(name.startswith(f"{other}/") for name in folded for other in folded) or len(folded) < len(names)
    one_folder = len({name.partition("/")[0] for name in names}) == 1
    if not clash and not one_folder:
        assert read_archive(write_archive(files, 0)) == files


def tar_of(files, mtime):
    buffer = io.BytesIO()
    write_tar(buffer, files, mtime)
    return buffer.getvalue()


def test_the_tar_bytes_depend_on_files_and_time_alone():
    backwards = dict(reversed(FILES.items()))
    assert tar_of(FILES, 5) == tar_of(backwards, 5)
    assert tar_of(FILES, 5) != tar_of(FILES, 6)
    assert gzip.decompress(write_archive(FILES, 5)) == tar_of(FILES, 5)
    assert tar_digest(write_archive(FILES, 5)) == sha256_prefixed(tar_of(FILES, 5))


def test_a_tar_ends_with_two_blocks_of_zeros_and_nothing_more():
    tar = tar_of({"a": b"x"}, 0)
    assert len(tar) == 512 + 512 + 1024
    assert tar.endswith(b"\0" * 1024)


def test_repacking_with_other_programs_changes_nothing():
    members = [plain("./", b"", type=tarfile.DIRTYPE)] + [plain(f"./{name}", data) for name, data in FILES.items()]
    for form in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        assert read_archive(archive(*members, form=form)) == FILES


def test_one_folder_around_everything_is_left_out():
    assert read_archive(archive(*(plain(f"bundle/{name}", data) for name, data in FILES.items()))) == FILES


@pytest.mark.parametrize(
    ("path", "plain_path"),
    [("a", True), ("ctrf/x.json", True), ("A_1-2.b+c@d=e", True), ("", False), ("a//b", False), ("a/", False),
     ("/a", False), ("..", False), ("a/..", False), ("a b", False), ("ä", False), ("a:b", False), ("a" * 201, False)],
)  # fmt: skip
def test_plain_paths(path, plain_path):
    assert layout.is_plain_path(path) is plain_path


def test_an_artifact_is_read_and_bound_to_its_manifest():
    artifact = build_artifact({**FILES, layout.ATTESTATION: b"{}"}, version="evidencerun/1")
    found = read_artifact(artifact.manifest, artifact.layer)
    assert found.files == FILES
    assert found.manifest_digest == artifact.manifest_digest
    assert b'"org.opencontainers.image.created":"1970-01-01T00:00:00Z"' in artifact.manifest


def test_an_artifact_with_another_layer_or_manifest_is_refused():
    artifact = build_artifact(FILES, version="evidencerun/1")
    other = build_artifact({"recipe.yaml": b"b: 2\n", "x": b""}, version="evidencerun/1")
    for manifest, layer in (
        (artifact.manifest, other.layer),
        (artifact.manifest.replace(b"1970", b"1971"), artifact.layer),
        (artifact.manifest.replace(b'"schemaVersion":2', b'"schemaVersion":2,"subject":{}'), artifact.layer),
        (b"{}", artifact.layer),
        (b"[", artifact.layer),
    ):
        with pytest.raises(EvidenceError):
            read_artifact(manifest, layer)


def test_a_layer_that_holds_its_own_attestation_is_refused():
    import hashlib
    import json

    layer = write_archive({**FILES, layout.ATTESTATION: b"{}"}, 0)
    manifest = json.loads(build_artifact(FILES, version="v").manifest)
    described = manifest["layers"][0]
    described["digest"], described["size"] = f"sha256:{hashlib.sha256(layer).hexdigest()}", len(layer)
    described["annotations"]["io.deis.oras.content.digest"] = tar_digest(layer)
    with pytest.raises(EvidenceError, match="belong together"):
        read_artifact(json.dumps(manifest).encode(), layer)
