"""Tars of samples are the folder of the same samples, in order and splits, or one line says why not."""

import gzip
import io
import json
import tarfile

import pytest
import torch

from vitlab.data.files import tars
from vitlab.data.sources.folder import ImageFolder
from vitlab.data.sources.shards import Shards


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(scope="module")
def photos(tmp_path_factory, write_photos):
    return write_photos(tmp_path_factory.mktemp("photos") / "photos", side=8)


def member(name, **facts):
    info = tarfile.TarInfo(name)
    for key, value in facts.items():
        setattr(info, key, value)
    return info


def pack(shard, members):
    """Writes a tar of (name or header, bytes)."""
    shard.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(shard, "w") as tar:
        for name, content in members:
            info = member(name) if isinstance(name, str) else name
            info.size = info.size or len(content)
            tar.addfile(info, io.BytesIO(content))
    return shard


def sample(photos, name, suffix="cls", label=None):
    label = name.partition("/")[0] if label is None else label
    return [(f"{name}.png", (photos / f"{name}.png").read_bytes()), (f"{name}.{suffix}", label.encode())]


NAMES = [f"{name}/{index}" for index in range(12) for name in ("cedar", "ash", "birch")]


@pytest.mark.parametrize("store", ["cache", "none"])
def test_tars_in_any_order_are_the_folder(photos, tmp_path, store):
    for number in range(3):
        members = [each for name in NAMES[number::3][::-1] for each in sample(photos, name)]
        pack(tmp_path / "tars" / f"{number}.tar", members)
    source, folder = Shards(str(tmp_path / "tars"), 8, store=store), ImageFolder(str(photos), 8, store=store)
    assert source.class_names == folder.class_names
    one, other = source.load()["all"], folder.load()["all"]
    assert torch.equal(one.labels, other.labels) and torch.equal(one.files, other.files)
    order = torch.randperm(36, generator=torch.Generator().manual_seed(0))
    assert torch.equal(one.fetch(order), other.fetch(order))
    assert source.fingerprint({"all": one}) == folder.fingerprint({"all": other})
    assert one.name_of(3) == f"{tmp_path}/tars/1.tar/ash/11.png"


def test_the_second_start_reads_the_headers_of_changed_tars_alone(photos, tmp_path, monkeypatch):
    for number in range(3):
        pack(
            tmp_path / "tars" / f"{number}.tar",
            [each for name in NAMES[number::3] for each in sample(photos, name)],
        )
    read, members = [], tars._members
    monkeypatch.setattr(tars, "_members", lambda shard: read.append(shard.name) or members(shard))

    def load():
        read.clear()
        all_of_it = Shards(str(tmp_path / "tars"), 8, store="none").load()["all"]
        return all_of_it.files.tolist(), all_of_it.labels.tolist(), sorted(read)

    *first, walked = load()
    assert walked == ["0.tar", "1.tar", "2.tar"] and load() == (*first, [])
    pack(tmp_path / "tars" / "1.tar", sample(photos, "birch/0"))
    files, labels, walked = load()
    assert walked == ["1.tar"] and len(files) == 25 and load() == (files, labels, [])
    for file in tmp_path.parent.glob("cache*/vitlab/tars/*.npz"):
        file.write_bytes(file.read_bytes()[:-30])
    assert load()[:2] == (files, labels)


def test_parts_come_from_names_or_folders_and_labels_from_text_json_or_a_table_of_classes(photos, tmp_path):
    by_name, by_folder = tmp_path / "by name", tmp_path / "by folder"
    for number, part in enumerate(("train", "val", "test")):
        names = NAMES[6 * number : 6 * number + 6]
        label = {"cedar": "10", "ash": "2", "birch": "3"}
        pack(by_name / f"{part}-00.tar", [m for n in names for m in sample(photos, n, "txt", label[n[:-2]])])
        as_json = [
            m for n in names for m in sample(photos, n, "json", json.dumps({"id": 3, "label": label[n[:-2]]}))
        ]
        pack(by_folder / part / "x.tar", as_json)
    for root in (by_name, by_folder):
        source = Shards(str(root), 8)
        assert source.class_names == ("2", "3", "10")
        assert {part: data.labels.tolist() for part, data in source.load().items()} == {
            part: [0, 0, 1, 1, 2, 2] for part in ("train", "val", "test")
        }
    (by_name / "classes.txt").write_text("".join(f"class {11 - number:02}\n" for number in range(11)))
    assert Shards(str(by_name), 8).class_names == ("class 01", "class 08", "class 09")


def test_names_of_members_are_never_paths_on_the_disk(photos, tmp_path):
    picture = (photos / "ash/0.png").read_bytes()
    members = [
        ("../../evil.png", picture),
        ("../../evil.cls", b"a"),
        ("/etc/passwd.png", picture),
        ("/etc/passwd.cls", b"b"),
    ]
    pack(tmp_path / "tars" / "0.tar", members)
    before = sorted(tmp_path.rglob("*"))
    assert len(Shards(str(tmp_path / "tars"), 8, store="none").load()["all"].fetch(torch.arange(2))) == 2
    assert sorted(tmp_path.rglob("*")) == before


PICTURE = b"\x89PNG"


BAD = {
    "no tar": ([], "no .tar file there"),
    "gzip": (
        lambda root, good: (root / "0.tar").write_bytes(gzip.compress(good)),
        "0.tar: compressed by gzip",
    ),
    "gzip by name": (
        lambda root, good: (root / "1.tgz").write_bytes(gzip.compress(good)),
        "1.tgz: compressed by gzip",
    ),
    "cut short": (lambda root, good: (root / "0.tar").write_bytes(good[:1600]), "0.tar: "),
    "no tar inside": (lambda root, good: (root / "0.tar").write_bytes(b"x" * 2000), "0.tar: no whole tar"),
    "sparse": ([(member("a.png", type=tarfile.GNUTYPE_SPARSE), b"")], "a.png is sparse"),
    "a link": ([(member("a.png", type=tarfile.SYMTYPE, linkname="/etc/passwd"), b"")], "a.png is a link"),
    "no label": ([("a.png", PICTURE)], "a has no label: no .cls, .json, .txt"),
    "empty label": ([("a.png", PICTURE), ("a.cls", b" ")], "a.cls is an empty label"),
    "no JSON": ([("a.png", PICTURE), ("a.json", b"{")], "a.json: "),
    "no key": (
        [("a.png", PICTURE), ("a.json", b'{"class": 3}')],
        "a.json: no label in its JSON, which has class",
    ),
    "two pictures": (
        [("a.png", PICTURE), ("a.jpg", PICTURE), ("a.cls", b"1")],
        "a has 2 pictures (png, jpg)",
    ),
    "twice": ([(f"{key}.{end}", b"1") for key in "aba" for end in ("png", "cls")], "a is there twice"),
    "one class": ([(f"{key}.{end}", b"1") for key in "ab" for end in ("png", "cls")], "only one class (1)"),
    "some parts": (lambda root, good: (root / "train-0.tar").write_bytes(good), "0.tar beside tars of train"),
    "no train": (lambda root, good: (root / "0.tar").rename(root / "val-0.tar"), "tars of val without train"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_line(photos, tmp_path, name):
    root = tmp_path / "tars"
    change, says = BAD[name]
    shard = pack(root / "0.tar", [each for name in NAMES[:6] for each in sample(photos, name)])
    if callable(change):
        change(root, shard.read_bytes())
    else:
        shard.unlink()
        if change:
            pack(shard, change)
    with pytest.raises(ValueError) as complaint:
        Shards(str(root), 8).load()
    assert (
        says in str(complaint.value)
        and str(root) in str(complaint.value)
        and "\n" not in str(complaint.value)
    )
