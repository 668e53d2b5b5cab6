"""Small pictures of test cases inside a page: image, reference, and what every method made of it.

Every layer is a PNG of its own, transparent where it says nothing, so that a page lays it over the
image and shows one or the other.
"""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import to_hex, to_rgb
from numpy.typing import NDArray
from PIL import Image

from benchmarks.common.errors import RunError
from benchmarks.common.files import read_json
from benchmarks.common.workspace import SHOWCASE, report_folder, scores_folder
from benchmarks.config import BenchmarkConfig
from benchmarks.report.drawn import CLASSES
from benchmarks.report.facts import DatasetFacts, Facts
from benchmarks.report.load import Source
from benchmarks.report.overlays import ERRORS, wrong_pixels
from benchmarks.scoring.slices import Slice, read_slices

Json = dict[str, Any]
Pixels = NDArray[np.uint8]
PICTURES = "pictures.json"
# Cases by name; more would make a page heavy.
_CASES = 8
_LEVELS = 8  # of entropy
_ALPHA, _ENTROPY_ALPHA = 165, 215  # of 255


def read_pictures(config: BenchmarkConfig, facts: Facts, source: Source) -> dict[str, Json]:
    """Pictures by data set; a data set without any is left out.

    Args:
        config: the benchmark.
        facts: its methods and data sets.
        source: of the slices, or of the kept pictures of synthetic data.

    Raises:
        RunError: a file is damaged.
    """
    if source.kept:
        path = report_folder(source.root, config.name) / PICTURES
        found: dict[str, Json] = read_json(path) if path.is_file() else {}
        return found
    made = {d.id: _pictures(config, facts, d, source) for d in facts.datasets}
    return {dataset: pictures for dataset, pictures in made.items() if pictures["cases"]}


def _pictures(config: BenchmarkConfig, facts: Facts, dataset: DatasetFacts, source: Source) -> Json:
    cases: dict[str, Json] = {}
    for method in facts.methods:
        path = scores_folder(source.root, config.name, dataset.id, method.key) / SHOWCASE
        if not path.is_file():
            continue
        for one in read_slices(path).all[:_CASES]:
            case = cases.setdefault(one.case, _case(one))
            if case["slice"] != one.index:
                again = source.remedies(config, dataset.id, method.key)[-1]
                raise RunError(f"'{path}' shows slice {one.index} of {one.case}: {again}")
            case["methods"][method.key] = _layers(one)
    classes = {name: CLASSES[i % len(CLASSES)] for i, name in enumerate(dataset.classes)}
    scale = {"certain": to_hex(_shade(0)), "uniform": to_hex(_shade(1))}
    keys = {"prediction": classes, "errors": dict(ERRORS), "entropy": scale}
    return {"labels": config.data[dataset.id].labels[0], "keys": keys, "cases": cases}


def _case(one: Slice) -> Json:
    return {
        "slice": one.index,
        "image": _uri(Image.fromarray(one.image)),
        "truth": _painted(one.truth, CLASSES),
        "methods": {},
    }


def _layers(one: Slice) -> Json:
    shades = (one.entropy.astype(int) * _LEVELS // 256 + 1).astype(np.uint8)
    scale = [_shade(i / (_LEVELS - 1)) for i in range(_LEVELS)]
    return {
        "prediction": _painted(one.prediction, CLASSES),
        "errors": _painted(wrong_pixels(one), tuple(ERRORS.values())),
        "entropy": _painted(shades, scale, alpha=_ENTROPY_ALPHA),
    }


def _shade(share: float) -> tuple[float, float, float]:
    """Colour of an entropy in [0, 1]."""
    red, green, blue, _ = colormaps["cividis"](share)
    return red, green, blue


def _painted(label: Pixels, colors: Any, *, alpha: int = _ALPHA) -> str:
    """Numbers above 0 in their colours, 0 transparent."""
    count = int(label.max()) if label.size else 0
    shades = [to_rgb(colors[(k - 1) % len(colors)]) for k in range(1, count + 1)]
    flat = [round(255 * part) for shade in ((0.0, 0.0, 0.0), *shades) for part in shade]
    picture = Image.fromarray(label)
    picture.putpalette(flat)
    return _uri(picture, transparency=bytes([0, *[alpha] * count]))


def _uri(picture: Image.Image, **options: Any) -> str:
    stream = io.BytesIO()
    picture.save(stream, "PNG", optimize=True, **options)
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()
