"""A release in Croissant 1.0, the machine-readable description of data sets of MLCommons.

Terms and required properties: https://docs.mlcommons.org/croissant/docs/croissant-spec.html
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import Any

from benchmarks.common.workspace import CASES
from benchmarks.config import BenchmarkConfig
from benchmarks.report.release.datasheet import Citation
from benchmarks.scoring.cases import COLUMNS

VERSION = "http://mlcommons.org/croissant/1.0"
_CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "sc": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "dct": "http://purl.org/dc/terms/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "recordSet": "cr:recordSet",
    "source": "cr:source",
}
_FORMATS = {
    ".csv": "text/csv", ".json": "application/json", ".yaml": "application/yaml",
    ".md": "text/markdown",
}  # fmt: skip
# Type and meaning of the columns of the case table.
FIELDS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "benchmark": ("Text", "name of the benchmark"),
        "dataset": ("Text", "id of the data set"),
        "method": ("Text", "id of the method"),
        "variant": ("Text", "variant of the method; empty for its defaults"),
        "labels": ("Integer", "number of labelled training patients"),
        "fold": ("Integer", "number of the labelled subset or of the part of a cross-validation"),
        "seed": ("Integer", "seed of the run"),
        "checkpoint": ("Text", "last step of the run, or best by validation"),
        "case": ("Text", "id of the image"),
        "patient": ("Text", "id of the patient, the unit of splits and tests"),
        "class": ("Text", "name of the foreground class"),
        "dice": ("Float", "Dice coefficient in [0, 1]"),
        "jaccard": ("Float", "Jaccard index in [0, 1]"),
        "hd95_mm": ("Float", "95th percentile of the Hausdorff distance"),
        "asd_mm": ("Float", "mean distance of the predicted surface to the reference"),
        "assd_mm": ("Float", "average symmetric surface distance"),
        "nsd": ("Float", "normalised surface Dice in [0, 1]"),
        "ref_voxels": ("Integer", "voxels of the class in the reference"),
        "pred_voxels": ("Integer", "voxels of the class in the prediction"),
        "empty": ("Text", "which mask has no voxel: none, reference, prediction or both"),
    }
)


def description(
    config: BenchmarkConfig, cited: Citation, files: Mapping[str, str]
) -> dict[str, Any]:
    """The JSON-LD of a release.

    Args:
        config: the benchmark.
        cited: authors, licence and version of the suite.
        files: SHA-256 of every file by its path in the release.
    """
    return {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": VERSION,
        "name": f"{cited.name}_{config.name}",
        "description": (
            f"Scores per patient of the benchmark {config.name}."
            f" {config.question} Segmentation quality of every run, case and class; no images."
        ),
        "license": f"https://spdx.org/licenses/{cited.licence}.html",
        "version": cited.version,
        "creator": [{"@type": "sc:Organization", "name": name} for name in cited.authors],
        "citeAs": cited.text,
        "distribution": [_file(name, code) for name, code in files.items()],
        "recordSet": [
            {
                "@type": "cr:RecordSet",
                "@id": "cases",
                "name": "cases",
                "description": "One row per run, checkpoint, case and class.",
                "field": [_field(name) for name in COLUMNS],
            }
        ],
    }


def _file(name: str, code: str) -> dict[str, Any]:
    return {
        "@type": "cr:FileObject",
        "@id": name,
        "name": name,
        "contentUrl": name,
        "encodingFormat": _FORMATS[PurePosixPath(name).suffix],
        "sha256": code,
    }


def _field(name: str) -> dict[str, Any]:
    kind, meaning = FIELDS[name]
    return {
        "@type": "cr:Field",
        "@id": f"cases/{name}",
        "name": name,
        "description": meaning,
        "dataType": f"sc:{kind}",
        "source": {"fileObject": {"@id": CASES}, "extract": {"column": name}},
    }
