"""Where open data sets are, with the checksums of their publishers or of torch-em and MONAI."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.common.console import Board
from benchmarks.common.errors import ConfigError, DataError
from benchmarks.common.schema import Strict
from datasets.base import Adapter
from datasets.fetching.archives import unpack
from datasets.fetching.download import Patience, Source, download

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
) -> Path:
    """Download, verify and unpack all files of a data set; what is there is kept.

    Args:
        name: id in `sources`.
        raw: folder of the raw data.
        mirror: address of a copy of the files.
        sources: the table.
        patience: with the network.

    Returns:
        The folder.

    Raises:
        ConfigError: no such data set.
        DataError: a download or an archive failed; the same command goes on.
    """
    if name not in sources:
        raise ConfigError(f"no open source of '{name}' is known; there are: {', '.join(sources)}")
    store = raw.with_name(f".{raw.name}.downloads")
    with Board() as board:
        get = partial(
            download, mirror=mirror, progress=board.update, say=board.say, patience=patience
        )
        for source in sources[name]:
            if not source.unpack:
                get(source, raw)
                continue
            target, marker = raw / source.into, store / f"{source.file}.unpacked"
            if marker.is_file() and target.is_dir():
                continue
            path = get(source, store)
            board.say(f"unpacking {path.name}")
            unpack(path, target)
            marker.touch()
            path.unlink()
    return raw


def make_available(adapter: Adapter[Any], raw: Path, params: Strict, *, mirror: str | None) -> None:
    """Obtain the raw data of a data set: what is usable stays, open data are downloaded.

    Args:
        adapter: of the data set.
        raw: folder of the raw data.
        params: an instance of the adapter's `FetchParams`.
        mirror: address of a copy of the files.

    Raises:
        DataError: the download failed, or the data must be obtained by hand; gives the steps.
    """
    source = adapter.open_source(params)
    if source in SOURCES:
        try:
            adapter.scan(raw, adapter.Params())
        except DataError:
            fetch_sources(source, raw, mirror=mirror)
    adapter.fetch(raw, params)
