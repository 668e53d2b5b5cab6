"""Where open data sets are, with the checksums of their publishers or of torch-em and MONAI."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.common.console import Board
from benchmarks.common.errors import ConfigError, DataError
from benchmarks.common.schema import Strict
from datasets.base import Adapter
from datasets.fetching.archives import occupied, unpack
from datasets.fetching.download import Patience, Source, download, is_whole

_ZENODO = "https://zenodo.org/records/3757476/files"
_FIGSHARE = "https://ndownloader.figshare.com/files"

# Checksums: torch-em `medical/acdc.py` and `covid19_seg.py`, MONAI `apps/datasets.py`, MedSeg.
SOURCES: Mapping[str, tuple[Source, ...]] = {
    "acdc": (
        Source(
            "https://humanheart-project.creatis.insa-lyon.fr/database/api/v1/collection/"
            "637218c173e9f0047faa00fb/download",
            "acdc.zip",
            "sha256",
            "2787e08b0d3525cbac710fc3bdf69ee7c5fd7446472e49db8bc78548802f6b5e",
            into="ACDC",
        ),
    ),
    "covid19": (
        Source(
            f"{_ZENODO}/COVID-19-CT-Seg_20cases.zip",
            "COVID-19-CT-Seg_20cases.zip",
            "sha256",
            "a5060480eff9315b069b086312dac4872777901fb80d268a5a83edd9f4e7b440",
            into="COVID-19-CT-Seg_20cases",
        ),
        Source(
            f"{_ZENODO}/Infection_Mask.zip",
            "Infection_Mask.zip",
            "sha256",
            "87901c73fdd2230260e61d2dbc57bf56026efc28264006b8ea2bf411453c1694",
            into="Infection_Mask",
        ),
    ),
    "medseg": (
        Source(
            f"{_FIGSHARE}/25953977",
            "tr_im.nii.gz",
            "md5",
            "54f82e3a9ac01bf6cc2300ca53d820ae",
            unpack=False,
        ),
        Source(
            f"{_FIGSHARE}/25953980",
            "tr_mask.nii.gz",
            "md5",
            "d11996de45d06d332658115d8b3cf6fc",
            unpack=False,
        ),
    ),
    # An open relative of BraTS, never reported under its name.
    "msd_brain": (
        Source(
            "https://msd-for-monai.s3-us-west-2.amazonaws.com/Task01_BrainTumour.tar",
            "Task01_BrainTumour.tar",
            "md5",
            "240a19d752f0d9e9101544901065d872",
            into="Task01_BrainTumour",
        ),
    ),
}


def fetch_sources(
    name: str,
    raw: Path,
    *,
    mirror: str | None = None,
    sources: Mapping[str, tuple[Source, ...]] = SOURCES,
    patience: Patience = Patience(),  # noqa: B008, frozen
    lacking: str = "",
) -> Path:
    """Download, verify and unpack all files of a data set; what is there is kept.

    Args:
        name: id in `sources`.
        raw: folder of the raw data.
        mirror: address of a copy of the files.
        sources: the table.
        patience: with the network.
        lacking: why what is in the folder cannot be used, for people.

    Returns:
        The folder.

    Raises:
        ConfigError: no such data set.
        DataError: a download or an archive failed, and the same command goes on; or the folder
            holds data that no earlier call has put there.
    """
    if name not in sources:
        raise ConfigError(f"no open source of '{name}' is known; there are: {', '.join(sources)}")
    store = raw.with_name(f".{raw.name}.downloads")
    _refuse_foreign(raw, store, [file for files in sources.values() for file in files], lacking)
    with Board() as board:
        get = partial(
            download, mirror=mirror, progress=board.update, say=board.say, patience=patience
        )
        for source in sources[name]:
            if not source.unpack:
                get(source, raw)
                continue
            target, path, marker = raw / source.into, store / source.file, _marker(source, store)
            if not (marker.is_file() and occupied(target)):
                get(source, store)
                board.say(f"unpacking {path.name}")
                marker.touch()  # before, so that a call that is killed knows the folder for its own
                unpack(path, target)
            path.unlink(missing_ok=True)
    return raw


def _marker(source: Source, store: Path) -> Path:
    """Made before an archive is unpacked: the folder of its content is of no one else."""
    return store / f"{source.file}.unpacked"


def _refuse_foreign(raw: Path, store: Path, files: list[Source], lacking: str) -> None:
    """Refuse to download beside or in place of data that a person has put or linked here."""
    entries = sorted(raw.iterdir()) if raw.is_dir() else []
    # Hidden are folders that a killed call was unpacking into.
    seen = [path for path in entries if not path.name.startswith(".") and occupied(path)]
    foreign = [path for path in seen if not any(_is_own(path, file, store) for file in files)]
    if foreign:
        own = shlex.quote(str(raw))
        raise DataError(
            f"'{foreign[0]}' was not downloaded by `fetch`, so '{raw}' stays as it is and nothing"
            f" is downloaded into it; move it away, as by `mv {own} {own}.own`, then fetch again,"
            f" or complete it{': ' * bool(lacking)}{lacking}"
        )


def _is_own(path: Path, source: Source, store: Path) -> bool:
    """Whether an earlier call has put a file or folder into the raw data for a source."""
    if source.unpack:
        return path.name == source.into and _marker(source, store).is_file()
    if path.name == source.file:
        return is_whole(source, path)
    return path.name == f"{source.file}.part"


def make_available(adapter: Adapter[Any], raw: Path, params: Strict, *, mirror: str | None) -> None:
    """Obtain the raw data of a data set: what is usable stays, open data are downloaded.

    Args:
        adapter: of the data set.
        raw: folder of the raw data.
        params: an instance of the adapter's `FetchParams`.
        mirror: address of a copy of the files.

    Raises:
        DataError: the download failed, the data must be obtained by hand, or those that are here
            cannot be used; gives the steps.
    """
    source = adapter.open_source(params)
    if source in SOURCES:
        try:
            adapter.scan(raw, adapter.Params())
        except DataError as error:
            fetch_sources(source, raw, mirror=mirror, lacking=str(error))
    adapter.fetch(raw, params)
