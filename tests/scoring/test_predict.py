"""The folder of masks while a command fills it: what a stopped one wrote is its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.common.errors import ConfigError, RunError
from benchmarks.scoring.predict import _unfinished


def stopped(out: Path, identity: str, mask: Path) -> None:
    """Write one mask, and be stopped."""
    with pytest.raises(KeyboardInterrupt), _unfinished(out, identity, [mask]) as folder:
        folder.mkdir()
        mask.touch()
        raise KeyboardInterrupt


def test_masks_of_a_stopped_call_are_continued_and_others_refused(tmp_path: Path) -> None:
    out, mask = tmp_path / "masks", tmp_path / "masks/a.png"
    stopped(out, "one", mask)
    with pytest.raises(ConfigError, match=r"a\.png' exists"), _unfinished(out, "two", [mask]):
        pass
    with _unfinished(out, "one", [mask]) as folder:
        assert folder.is_dir()
        with pytest.raises(RunError, match="another process"), _unfinished(out, "one", [mask]):
            pass
    assert [p.name for p in out.iterdir()] == ["a.png"]
    with pytest.raises(ConfigError, match="name another --out"), _unfinished(out, "one", [mask]):
        pass


def test_images_that_another_call_had_prepared_are_not_used(tmp_path: Path) -> None:
    stopped(tmp_path, "one", tmp_path / "a.png")
    (tmp_path / "a.png").unlink()
    with _unfinished(tmp_path, "two", [tmp_path / "a.png"]) as folder:
        assert not folder.exists()
