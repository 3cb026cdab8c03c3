"""Archives from the net: checked before they are opened, unpacked in whole or not at all."""

import hashlib
import http.client
import json
import logging
import os
import tarfile
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from vitlab.files.atomic import STALE_SECONDS, part_beside, remove_parts, replaced
from vitlab.files.lock import only_one
from vitlab.files.whole_folder import whole_folder

log = logging.getLogger(__name__)

DONE = ".vitlab_download.json"
"""The marker in each folder that `fetch_archive` filled."""

TIMEOUT_SECONDS = 60
PROGRESS_SECONDS = 5.0
BLOCK = 1 << 20


def _holds_something(folder: Path) -> bool:
    return folder.is_dir() and any(folder.iterdir())


def _sha256(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _download(url: str, target: Path) -> None:
    """Writes what is at `url` to `target`, and logs a line every few seconds."""
    done, reported = 0, time.monotonic()
    with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as response, target.open("wb") as file:
        total = response.headers.get("Content-Length", "?")
        while block := response.read(BLOCK):
            file.write(block)
            done += len(block)
            if time.monotonic() - reported > PROGRESS_SECONDS:
                reported = time.monotonic()
                log.info("downloading %s: %d of %s bytes", url, done, total)


def _unpack(archive: Path, folder: Path) -> None:
    """Unpacks a tar or zip; raises ValueError if a name leads out of `folder`, or it is damaged."""
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as opened:
                for name in opened.namelist():
                    parts = PurePosixPath(name.replace("\\", "/"))
                    if parts.is_absolute() or ".." in parts.parts:
                        raise ValueError(
                            f"{archive}: holds {name!r}, which leads out of the folder; do not use this"
                            " archive"
                        )
                opened.extractall(folder)
        else:
            with tarfile.open(archive) as opened:
                opened.extractall(folder, filter="data")
    except tarfile.FilterError as error:
        raise ValueError(f"{archive}: {error}; do not use this archive") from error
    except (tarfile.TarError, zipfile.BadZipFile, EOFError) as error:
        raise ValueError(
            f"{archive}: not a whole tar or zip archive ({type(error).__name__}); remove it and fetch it"
            " again"
        ) from error


def drop_top_folder(folder: Path) -> None:
    """Moves everything one folder up if `folder` holds a single folder and nothing else."""
    entries = list(folder.iterdir())
    if len(entries) != 1 or not entries[0].is_dir():
        return
    top = entries[0].rename(part_beside(entries[0]))  # out of the way of what it holds under its own name
    for entry in top.iterdir():
        entry.rename(folder / entry.name)
    top.rmdir()


def _obtain(url: str, archive: Path, sha256: str) -> bool:
    """Brings the checked archive to `archive`, unless it is there; returns whether it was downloaded."""
    if archive.is_file():
        if (found := _sha256(archive)) != sha256:
            raise ValueError(
                f"{archive}: its sha256 is {found}, not {sha256}; remove it, or replace it with the file from"
                f" {url}"
            )
        return False
    try:
        with replaced(archive) as part:
            log.info("downloading %s", url)
            _download(url, part)
            if (found := _sha256(part)) != sha256:
                raise ValueError(
                    f"{url}: what came has the sha256 {found}, not {sha256}; try again, or put the right file"
                    f" at {archive}"
                )
    except (OSError, http.client.HTTPException) as error:
        if isinstance(error, urllib.error.HTTPError):
            error.close()  # it holds the connection
        raise ValueError(
            f"{url}: download failed ({error}); fetch the file some other way and put it at {archive}"
        ) from error
    return True


def fetch_archive(url: str, folder: Path, sha256: str) -> None:
    """Makes `folder` the content of the archive at `url` (what lies in its top folder, where it has only
    one), unless that was done before.

    An archive already beside `folder`, under the name it has in `url`, is used instead of the net. Several
    processes may call this at once, and any may be killed. Raises ValueError if the download fails, the hash
    is another, or `folder` holds something else.
    """
    archive = folder.with_name(PurePosixPath(url).name)
    try:
        with only_one(folder):
            if (folder / DONE).is_file():
                return
            if _holds_something(folder):
                raise ValueError(f"{folder}: holds files, but no complete download; move it away")
            remove_parts(folder.parent, STALE_SECONDS)
            downloaded = _obtain(url, archive, sha256)
            with whole_folder(folder) as part:
                _unpack(archive, part)
                drop_top_folder(part)
                number = sum(len(names) for _, _, names in os.walk(part))
                (part / DONE).write_text(
                    json.dumps({"url": url, "sha256": sha256, "files": number}), encoding="utf-8"
                )
            if downloaded:
                archive.unlink()
    except OSError as error:
        raise ValueError(
            f"{folder}: cannot be written ({error.strerror}); name another folder, with enough room"
        ) from error


def download_into(folder: Path, fetch: Callable[[Path], object], by_hand: str) -> None:
    """Fills `folder`, unless it holds something, with what another library's `fetch` downloads and unpacks
    into the folder it is given. Several processes may call this at once, and any may be killed. Raises
    ValueError if the download fails; `by_hand` says what helps then."""
    try:
        if _holds_something(folder):  # perhaps on a disk that cannot be written
            return
        with only_one(folder):
            if _holds_something(folder):
                return
            with whole_folder(folder) as part:
                fetch(part)
                drop_top_folder(part)
    except (OSError, RuntimeError, http.client.HTTPException) as error:
        raise ValueError(f"{folder}: download failed ({' '.join(str(error).split())}); {by_hand}") from error
