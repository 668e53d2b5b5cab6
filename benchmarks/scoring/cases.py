"""The case table: one row per run, checkpoint, case and foreground class."""

from __future__ import annotations

# What names a row, what was measured, and which masks were empty.
IDENTITY = (
    "benchmark", "dataset", "method", "variant", "labels", "fold", "seed", "checkpoint", "case",
    "patient", "class",
)  # fmt: skip
MEASURED = ("dice", "jaccard", "hd95_mm", "asd_mm", "assd_mm", "nsd")
COLUMNS = (*IDENTITY, *MEASURED, "ref_voxels", "pred_voxels", "empty")
# Variant of rows that were predicted outside this suite, so that their key says so in every file.
EXTERNAL = "external"
# Table beside the case table of such rows: one row per run, what was read and what was checked.
ORIGIN = "external.csv"
ORIGIN_COLUMNS = (
    "dataset", "method", "labels", "fold", "seed", "all_labels", "masks", "digest", "split",
)  # fmt: skip
