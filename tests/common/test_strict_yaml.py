"""What YAML 1.1 and 1.2 read differently, or a reader silently drops, is refused by line."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from benchmarks.common.errors import ConfigError
from benchmarks.common.strict_yaml import load_yaml

BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n"
    for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


def put(folder: Path, text: str) -> Path:
    path = folder / "params.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: 1\nb: 2\na: 3\n", "line 3: the key 'a' stands in line 1 too"),
        ("a:\n  b: {c: 1, c: 1}\n", "line 2: the key 'c' stands in line 2 too"),
        ("a: 1\nb: 010\n", "line 2: '010' may be octal; write 10"),
        ("a: [1, 007_0]\n", "line 1: '007_0' may be octal; write 70"),
        ("a: -00\n", "line 1: '-00' may be octal; write 0"),
        ("a: 1:30\n", "line 1: '1:30' may be a number to the base of 60"),
        ("a: 1\nb: no\n", "line 2: 'no' may mean a truth or a word; write true or false"),
        ("on: 1\n", "line 1: 'on' may mean"),
        ("a: [Yes]\n", "line 1: 'Yes' may mean"),
        ("a: " + "[" * 100_000, "more than 20 blocks inside each other"),
        ("a: " + "{b: " * 21 + "1" + "}" * 21, "line 1: more than 20 blocks"),
        ("a: &x [*x]\n", "contains itself"),
        (BOMB, "more than 100000 values"),
        ("a: 2024-13-45\n", "no readable YAML"),
        ("a: " + "9" * 5000, "no readable YAML"),
        ("a: !!python/object/apply:os.system [ls]\n", "no readable YAML"),
    ],
)
def test_what_may_be_misread_is_refused_with_file_and_line(
    tmp_path: Path, text: str, words: str
) -> None:
    path = put(tmp_path, text)
    with pytest.raises(ConfigError) as seen:
        load_yaml(path)
    assert str(path) in str(seen.value) and words in str(seen.value)


def test_everything_wrong_is_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as seen:
        load_yaml(put(tmp_path, "a: 010\nb: off\na: 2\n"))
    assert [line.partition("line ")[2][:2] for line in str(seen.value).splitlines()] == [
        "1:", "2:", "3:",
    ]  # fmt: skip


def test_quoted_words_plain_numbers_and_merged_blocks_are_read_as_any_reader_does(
    tmp_path: Path,
) -> None:
    text = (
        "base: &base {lr: 0.01, n: 0}\nmine: {<<: *base, n: 0.5}\n"
        "words: ['no', \"010\", true, 10, 0x1f, -0.5, null, nowhere, 1e-3]\n"
    )
    value, lines = load_yaml(put(tmp_path, text))
    assert value == yaml.safe_load(text)
    assert (lines["mine",], lines["words", 2]) == (2, 3)
    assert load_yaml(put(tmp_path, "")) == (None, {})
