"""`dataset.json` of a folder in nnU-Net's layout, of version 2 or 1."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, StringConstraints, ValidationError

from benchmarks.common.errors import DataError
from benchmarks.common.files import read_json

ENDINGS = (".nii.gz", ".nii", ".png")
# Names come into file headers, tables and figures.
_Name = Annotated[str, StringConstraints(min_length=1, max_length=80, pattern=r"^[^\x00-\x1f]+$")]
_Number = Annotated[int, Field(strict=True, ge=0, le=255)]


class Description(BaseModel):
    """What is read of `dataset.json`; other keys are left alone.

    Attributes:
        channel_names: name by channel number, "0" first.
        labels: stored value by class name, background 0.
        file_ending: of images and masks.
    """

    channel_names: dict[str, _Name] = Field(min_length=1)
    labels: dict[_Name, _Number] = Field(min_length=2)
    file_ending: Literal[".nii.gz", ".nii", ".png"]

    @property
    def channels(self) -> tuple[str, ...]:
        """Names in the order of the channel numbers."""
        return tuple(self.channel_names[key] for key in sorted(self.channel_names, key=int))

    @property
    def classes(self) -> tuple[str, ...]:
        """Names in the order of the stored values."""
        return tuple(sorted(self.labels, key=lambda name: self.labels[name]))


def read_description(folder: Path) -> Description:
    """`dataset.json` of a raw folder.

    A file of nnU-Net 1 is read as nnU-Net 2 converts it: `modality` names the channels, `labels`
    goes from value to name, and files end in .nii.gz.

    Raises:
        DataError: it is missing or says what this suite does not read; names the key.
    """
    path = folder / "dataset.json"
    try:
        found = Description.model_validate(_as_version_2(read_json(path)))
    except OSError as error:
        raise DataError(
            f"no nnU-Net data in '{folder}': {error.strerror} '{path}'; expected dataset.json,"
            " imagesTr/<case>_0000.nii.gz and labelsTr/<case>.nii.gz"
        ) from None
    except ValidationError as error:
        problems = (f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise _unusable(path, "; ".join(problems)) from None
    except ValueError as error:
        raise _unusable(path, str(error)) from None
    wrong = _wrong_channels(found) or _wrong_labels(found)
    if wrong:
        raise DataError(f"'{path}' {wrong}")
    return found


def _unusable(path: Path, problem: str) -> DataError:
    return DataError(
        f"'{path}' cannot be used ({problem}); it needs channel_names, labels with one whole"
        f" number per class (no regions) and file_ending, one of {', '.join(ENDINGS)}"
    )


def _as_version_2(value: Any) -> Any:
    """A description of version 1 in the words of version 2; any other as it is."""
    if not isinstance(value, Mapping) or "modality" not in value or "channel_names" in value:
        return value
    labels = value.get("labels")
    if not isinstance(labels, Mapping):
        return value
    numbers = {name: int(key) if str(key).isdecimal() else key for key, name in labels.items()}
    if len(numbers) < len(labels):
        raise ValueError("labels: two values have one name")
    return {"channel_names": value["modality"], "labels": numbers, "file_ending": ".nii.gz"}


def _wrong_channels(found: Description) -> str:
    numbers = {str(number) for number in range(len(found.channel_names))}
    if found.channel_names.keys() != numbers:
        given = ", ".join(f"'{key}'" for key in found.channel_names)
        return f"has the channel_names {given}; their keys must be '0', '1', ... without a gap"
    if len(set(found.channels)) < len(found.channels):
        return f"gives two channels one name: {', '.join(found.channels)}; name them apart"
    return ""


def _wrong_labels(found: Description) -> str:
    if "ignore" in found.labels:
        return (
            f"has the label 'ignore' ({found.labels['ignore']}), voxels that nobody annotated; they"
            " cannot be left out of losses and metrics here. Annotate them, or move such images to"
            " imagesUn without their masks, and delete 'ignore' from labels"
        )
    if sorted(found.labels.values()) != list(range(len(found.labels))):
        return (
            f"has the labels {found.labels}; they must be 0 (background), 1, 2, ... without a gap"
        )
    if found.classes[0].lower() != "background":
        return (
            f"gives the value 0 to '{found.classes[0]}'; 0 must be 'background', which is neither"
            " learnt as a structure nor scored: renumber the masks, or rename the class"
        )
    return ""
