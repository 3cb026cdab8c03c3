"""What comes from the net (here: a server on this machine) is whole and right, or it does not count."""

import gzip
import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
import torchvision.datasets
from PIL import Image

from vitlab.data.sources import flowers
from vitlab.data.sources.cifar import CIFAR
from vitlab.data.sources.flowers import Flowers
from vitlab.data.sources.mnist import MNIST
from vitlab.files.download import DONE, download_into, fetch_archive

CONTENT = {
    "set/a/1.txt": b"one" * 500,
    "set/a/2.txt": b"two",
    "set/b/set/3.txt": b"three",
    "set/LICENSE": b"free",
}


class Server:
    """Serves a folder on a port of its own; counts what was asked of it."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.asked: list[str] = []
        asked = self.asked

        class Handler(SimpleHTTPRequestHandler):
            def do_GET(self) -> None:
                asked.append(self.path)
                if self.path.startswith("/broken/"):  # promises more than it sends
                    self.send_response(200)
                    self.send_header("Content-Length", "1000000")
                    self.end_headers()
                    self.wfile.write(b"x" * 1000)
                else:
                    super().do_GET()

            def log_message(self, *_: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
        self.url = f"http://127.0.0.1:{self.http.server_port}"

    def offer(self, name: str, content: bytes) -> tuple[str, str]:
        """Puts up a file; returns its URL and its sha256."""
        (self.folder / name).write_bytes(content)
        return f"{self.url}/{name}", hashlib.sha256(content).hexdigest()


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    (tmp_path / "served").mkdir()
    server = Server(tmp_path / "served")
    thread = Thread(target=server.http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.http.shutdown()
    server.http.server_close()
    thread.join()


def tar(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def zipped(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def content(folder: Path) -> dict[str, bytes]:
    return {
        f"set/{file.relative_to(folder).as_posix()}": file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file() and file.name != DONE
    }


def refusal(action: Callable[[], object]) -> str:
    with pytest.raises(ValueError) as caught:
        action()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def left_in(folder: Path) -> list[str]:
    return sorted(
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.name.endswith(".lock")
    )


@pytest.mark.parametrize("name, pack", [("set.tgz", tar), ("set.zip", zipped)])
def test_an_archive_is_fetched_and_unpacked_once(
    server: Server, tmp_path: Path, name: str, pack: Callable[[dict[str, bytes]], bytes]
) -> None:
    url, sha256 = server.offer(name, pack(CONTENT))
    for _ in range(2):
        fetch_archive(url, tmp_path / "data/here", sha256)
        assert content(tmp_path / "data/here") == CONTENT
    assert server.asked == [f"/{name}"]
    assert json.loads((tmp_path / "data/here" / DONE).read_text()) == {
        "url": url,
        "sha256": sha256,
        "files": 4,
    }
    assert [path.name for path in (tmp_path / "data").iterdir() if not path.name.startswith(".")] == ["here"]


def test_an_archive_without_a_single_top_folder_is_unpacked_as_it_is(server: Server, tmp_path: Path) -> None:
    url, sha256 = server.offer("flat.zip", zipped({"a/1": b"1", "b/2": b"2"}))
    fetch_archive(url, tmp_path / "data/here", sha256)
    assert content(tmp_path / "data/here") == {"set/a/1": b"1", "set/b/2": b"2"}


def test_another_hash_is_refused_and_nothing_stays(server: Server, tmp_path: Path) -> None:
    url, _ = server.offer("set.tgz", tar(CONTENT))
    message = refusal(lambda: fetch_archive(url, tmp_path / "data/here", "0" * 64))
    assert url in message and "0" * 64 in message
    assert left_in(tmp_path / "data") == []


def test_a_download_cut_short_is_refused_and_nothing_stays(server: Server, tmp_path: Path) -> None:
    message = refusal(lambda: fetch_archive(f"{server.url}/broken/set.tgz", tmp_path / "data/here", "0" * 64))
    assert "set.tgz" in message
    assert left_in(tmp_path / "data") == []


def test_without_the_net_the_line_says_where_to_put_the_file_and_then_it_works(
    server: Server, tmp_path: Path
) -> None:
    archive = tar(CONTENT)
    sha256 = hashlib.sha256(archive).hexdigest()
    assert "404" in refusal(lambda: fetch_archive(f"{server.url}/set.tgz", tmp_path / "data/here", sha256))
    nobody = "http://127.0.0.1:1/set.tgz"
    assert f"put it at {tmp_path / 'data/set.tgz'}" in refusal(
        lambda: fetch_archive(nobody, tmp_path / "data/here", sha256)
    )
    (tmp_path / "data/set.tgz").write_bytes(archive[:-1])
    assert "its sha256 is" in refusal(lambda: fetch_archive(nobody, tmp_path / "data/here", sha256))
    (tmp_path / "data/set.tgz").write_bytes(archive)
    fetch_archive(nobody, tmp_path / "data/here", sha256)
    assert content(tmp_path / "data/here") == CONTENT
    assert (tmp_path / "data/set.tgz").exists()  # the user's own file is not ours to remove


def linked() -> bytes:
    """A tar that first makes a link out of the folder, then writes through it."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        link = tarfile.TarInfo("out")
        link.type, link.linkname = tarfile.SYMTYPE, "../../.."
        archive.addfile(link)
        entry = tarfile.TarInfo("out/evil.txt")
        entry.size = 4
        archive.addfile(entry, io.BytesIO(b"evil"))
    return buffer.getvalue()


EVIL = {
    "up.tgz": tar({"good.txt": b"good", "../evil.txt": b"evil"}),
    "far.tgz": tar({"a/../../../evil.txt": b"evil"}),
    "link.tgz": linked(),
    "up.zip": zipped({"good.txt": b"good", "../evil.txt": b"evil"}),
    "root.zip": zipped({"/evil.txt": b"evil"}),
    "windows.zip": zipped({"..\\evil.txt": b"evil"}),
}


@pytest.mark.parametrize("name", EVIL)
def test_an_archive_that_leads_out_of_its_folder_is_refused_and_writes_nothing_there(
    server: Server, tmp_path: Path, name: str
) -> None:
    url, sha256 = server.offer(name, EVIL[name])
    message = refusal(lambda: fetch_archive(url, tmp_path / "data/here", sha256))
    assert "do not use this archive" in message
    assert not (tmp_path / "data/here").exists() and not list(tmp_path.rglob("*evil*"))


def test_absolute_names_in_a_tar_end_up_inside(server: Server, tmp_path: Path) -> None:
    outside = tmp_path / "outside.txt"
    url, sha256 = server.offer("root.tgz", tar({str(outside): b"evil", "b": b""}))
    fetch_archive(url, tmp_path / "data/here", sha256)
    assert not outside.exists() and (tmp_path / "data/here" / str(outside).lstrip("/")).exists()


def test_what_is_no_archive_is_one_line(server: Server, tmp_path: Path) -> None:
    url, sha256 = server.offer("set.tgz", b"<html>not found</html>")
    assert "not a whole tar or zip archive" in refusal(
        lambda: fetch_archive(url, tmp_path / "data/here", sha256)
    )


def test_a_folder_with_other_files_is_not_touched(server: Server, tmp_path: Path) -> None:
    url, sha256 = server.offer("set.tgz", tar(CONTENT))
    (tmp_path / "data/here").mkdir(parents=True)
    (tmp_path / "data/here/mine.txt").write_text("mine")
    assert "no complete download" in refusal(lambda: fetch_archive(url, tmp_path / "data/here", sha256))
    assert content(tmp_path / "data/here") == {"set/mine.txt": b"mine"} and server.asked == []


def test_kills_never_leave_a_half_set_that_counts_and_processes_at_once_download_once(
    server: Server, tmp_path: Path
) -> None:
    url, sha256 = server.offer("set.tgz", tar(CONTENT))
    fetch_archive(url, tmp_path / "model", sha256)
    server.asked.clear()

    def killed(mode: str) -> dict[str, object]:
        script = Path(__file__).with_name("killed.py")
        command = [
            sys.executable,
            str(script),
            mode,
            "download",
            url,
            sha256,
            str(tmp_path / "model"),
            str(tmp_path / "data"),
        ]
        done = subprocess.run(
            command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}, timeout=300
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)[mode]

    together = killed("together")
    assert together["exits"] == [0] * 4 and together["right"] is True
    assert together["left"] == ["set"] and server.asked == ["/set.tgz"]
    everywhere = killed("everywhere")
    assert everywhere["wrong"] == [] and everywhere["last_exit"] == 0
    assert isinstance(everywhere["kills"], int) and everywhere["kills"] > 20


def test_another_librarys_download_that_fails_leaves_nothing_and_says_what_helps(tmp_path: Path) -> None:
    def fails(folder: Path) -> None:
        (folder / "half").write_bytes(b"half")
        raise RuntimeError("File not found or\ncorrupted.")

    message = refusal(lambda: download_into(tmp_path / "data/here", fails, "do it by hand"))
    assert message.endswith("download failed (File not found or corrupted.); do it by hand")
    assert left_in(tmp_path / "data") == []


def test_flowers_download_themselves_where_nothing_is(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {"flower_photos/LICENSE.txt": b"CC BY 2.0"}
    for shade, name in enumerate(("daisy", "dandelion", "roses", "sunflowers", "tulips")):
        buffer = io.BytesIO()
        Image.new("RGB", (4, 4), (shade,) * 3).save(buffer, "PNG")
        files[f"flower_photos/{name}/1.png"] = buffer.getvalue()
    url, sha256 = server.offer("flower_photos.tgz", tar(files))
    monkeypatch.setattr(flowers, "URL", url)
    monkeypatch.setattr(flowers, "SHA256", sha256)
    source = Flowers(str(tmp_path / "root"), 4, cache_dir=str(tmp_path / "cache"), download=True)
    source.prepare()
    data = source.load()["all"]
    assert data.images[:, 0, 0, 0].tolist() == data.labels.tolist() == [0, 1, 2, 3, 4]
    Flowers(str(tmp_path / "root"), 4, cache_dir=str(tmp_path / "cache"), download=True).prepare()
    assert server.asked == ["/flower_photos.tgz"]


def test_flowers_that_are_there_are_not_downloaded(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flowers, "URL", f"{server.url}/flower_photos.tgz")
    for name in flowers.CLASSES:
        (tmp_path / "root" / name).mkdir(parents=True)
        Image.new("RGB", (4, 4)).save(tmp_path / "root" / name / "1.png")
    Flowers(str(tmp_path / "root"), 4, cache_dir=str(tmp_path / "cache"), download=True).prepare()
    assert server.asked == []


def test_cifar_downloads_itself_where_nothing_is(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [
        name for name, _ in torchvision.datasets.CIFAR10.train_list + torchvision.datasets.CIFAR10.test_list
    ]
    archive = tar({f"cifar-10-batches-py/{name}": name.encode() for name in names})
    url, _ = server.offer("cifar-10-python.tar.gz", archive)
    monkeypatch.setattr(torchvision.datasets.CIFAR10, "url", url)
    monkeypatch.setattr(torchvision.datasets.CIFAR10, "tgz_md5", "0" * 32)
    source = CIFAR(str(tmp_path / "root"), 10, download=True)
    assert url in refusal(source.prepare) and left_in(tmp_path / "root") == []
    monkeypatch.setattr(torchvision.datasets.CIFAR10, "tgz_md5", hashlib.md5(archive).hexdigest())
    source.prepare()
    source.prepare()
    assert {path.name: path.read_bytes().decode() for path in source.folder.iterdir()} == {
        name: name for name in names
    }
    assert left_in(tmp_path / "root") == sorted(
        ["cifar-10-batches-py", *(f"cifar-10-batches-py/{name}" for name in names)]
    )


def test_mnist_downloads_itself_where_nothing_is(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    resources = []
    for part, count in (("train", 3), ("t10k", 2)):
        images = b"\0\0\x08\x03" + np.array([count, 28, 28], ">i4").tobytes() + bytes(range(28 * count)) * 28
        labels = b"\0\0\x08\x01" + np.array([count], ">i4").tobytes() + bytes(range(count))
        for name, raw in ((f"{part}-images-idx3-ubyte.gz", images), (f"{part}-labels-idx1-ubyte.gz", labels)):
            packed = gzip.compress(raw)
            server.offer(name, packed)
            resources.append((name, hashlib.md5(packed).hexdigest()))
    monkeypatch.setattr(torchvision.datasets.MNIST, "mirrors", [f"{server.url}/"])
    monkeypatch.setattr(torchvision.datasets.MNIST, "resources", resources)
    source = MNIST(str(tmp_path / "root"), download=True)
    assert "data.download=true" in refusal(MNIST(str(tmp_path / "root")).load)
    source.prepare()
    assert [data.labels.tolist() for data in source.load().values()] == [[0, 1, 2], [0, 1]]
    asked = len(server.asked)
    source.prepare()
    assert len(server.asked) == asked
