"""Sampling of groups, the memory, and reading maps at coarser grids."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from methods.blocks.contrast import Memory, Samples, nearest_at, sample_group
from methods.blocks.traits import Traits


def numbered(count: int) -> Tensor:
    """Embeddings (P, 1) that tell the pixel they come from."""
    return torch.arange(count, dtype=torch.float32)[:, None]


def drawn(samples: Samples, row: int) -> list[int]:
    return samples.vectors[row, samples.valid[row], 0].int().tolist()


def test_sample_takes_members_of_the_class_without_replacement() -> None:
    torch.manual_seed(0)
    label = torch.arange(60) % 3
    member = torch.arange(60) < 45
    for _ in range(50):
        s = sample_group(numbered(60), label, member, classes=3, count=7, least=2)
        assert s.vectors.shape == (3, 7, 1) and s.valid.all()
        for c in range(3):
            pixels = drawn(s, c)
            assert len(set(pixels)) == 7
            assert all(p % 3 == c and p < 45 for p in pixels)


def test_sample_takes_all_of_a_small_class_and_marks_the_rest_empty() -> None:
    label = torch.tensor([0] * 20 + [1] * 3)
    s = sample_group(
        numbered(23), label, torch.ones(23, dtype=torch.bool), classes=2, count=5, least=3
    )
    assert s.valid.sum(1).tolist() == [5, 3]
    assert s.valid[1].tolist() == [True, True, True, False, False]
    assert sorted(drawn(s, 1)) == [20, 21, 22]


def test_sample_leaves_a_class_below_the_least_empty() -> None:
    label = torch.tensor([0] * 20 + [1] * 3)
    s = sample_group(
        numbered(23), label, torch.ones(23, dtype=torch.bool), classes=3, count=5, least=4
    )
    assert s.valid.sum(1).tolist() == [5, 0, 0]


def test_sample_of_an_empty_group_is_empty() -> None:
    s = sample_group(
        numbered(9),
        torch.zeros(9, dtype=torch.int64),
        torch.zeros(9, dtype=torch.bool),
        classes=2,
        count=4,
        least=1,
    )
    assert not s.valid.any()


def test_sample_from_fewer_pixels_than_the_cap() -> None:
    member = torch.ones(3, dtype=torch.bool)
    s = sample_group(numbered(3), torch.tensor([0, 1, 0]), member, classes=2, count=8, least=1)
    assert s.valid.sum(1).tolist() == [2, 1]


def test_sample_and_its_prefix_are_uniform() -> None:
    torch.manual_seed(0)
    draws, members = 3000, 6
    label, member = torch.zeros(10, dtype=torch.int64), torch.arange(10) < members
    counts, first = torch.zeros(10), torch.zeros(10)
    for _ in range(draws):
        s = sample_group(numbered(10), label, member, classes=1, count=2, least=1)
        counts[drawn(s, 0)] += 1
        first[drawn(s.first(1), 0)] += 1
    for observed, per_draw in ((counts, 2), (first, 1)):
        expected = draws * per_draw / members
        chi2 = ((observed[:members] - expected) ** 2 / expected).sum().item()
        assert chi2 < 20.5  # 99.9 % point of chi-square with 5 degrees of freedom
        assert not observed[members:].any()


def test_sample_passes_gradient_to_the_drawn_pixels_only() -> None:
    vectors = torch.randn(12, 3, requires_grad=True)
    member = torch.arange(12) < 5
    s = sample_group(
        vectors, torch.zeros(12, dtype=torch.int64), member, classes=1, count=9, least=1
    )
    (s.vectors * s.valid[..., None]).sum().backward()  # type: ignore[no-untyped-call]
    assert vectors.grad is not None
    assert vectors.grad.any(1).tolist() == member.tolist()


def batch_of(*rows: list[float], slots: int = 3) -> Samples:
    """Samples of dimension 1 with the given values first, empty slots (-1) after them."""
    vectors = torch.full((len(rows), slots, 1), -1.0)
    valid = torch.zeros(len(rows), slots, dtype=torch.bool)
    for i, row in enumerate(rows):
        vectors[i, : len(row), 0] = torch.tensor(row)
        valid[i, : len(row)] = True
    return Samples(vectors, valid)


def test_memory_starts_empty() -> None:
    memory = Memory(groups=2, classes=3, size=4, dim=5)
    s = memory.read(1)
    assert s.vectors.shape == (3, 4, 5) and not s.valid.any()


def test_memory_of_size_zero_stays_empty() -> None:
    memory = Memory(groups=1, classes=2, size=0, dim=1)
    memory.write(0, batch_of([1.0], [2.0]))
    s = memory.read(0)
    assert s.vectors.shape == (2, 0, 1) and s.valid.shape == (2, 0)


def test_memory_keeps_valid_samples_of_one_group_only() -> None:
    memory = Memory(groups=2, classes=2, size=4, dim=1)
    memory.write(0, batch_of([1.0, 2.0], []))
    s = memory.read(0)
    assert s.valid.tolist() == [[True, True, False, False], [False] * 4]
    assert drawn(s, 0) == [1, 2]
    assert not memory.read(1).valid.any()


def test_memory_overwrites_the_oldest() -> None:
    memory = Memory(groups=1, classes=2, size=4, dim=1)
    memory.write(0, batch_of([1.0, 2.0, 3.0], [7.0]))
    memory.write(0, batch_of([4.0, 5.0], []))
    s = memory.read(0)
    # Slots: 1 2 3 4, then 5 replaces 1.
    assert s.vectors[0, :, 0].tolist() == [5, 2, 3, 4] and s.valid[0].all()
    assert drawn(s, 1) == [7]
    memory.write(0, batch_of([6.0, 7.0, 8.0], []))
    assert memory.read(0).vectors[0, :, 0].tolist() == [5, 6, 7, 8]


def test_memory_takes_no_more_than_its_size() -> None:
    memory = Memory(groups=1, classes=1, size=2, dim=1)
    memory.write(0, batch_of([1.0, 2.0, 3.0]))
    assert drawn(memory.read(0), 0) == [1, 2]


def test_memory_keeps_the_traits_of_what_it_holds() -> None:
    """What is remembered stays a doubtful positive, or no negative of its second class."""
    memory = Memory(groups=2, classes=2, size=3, dim=1)
    traits = Traits(
        torch.full((2, 3), 5.0),
        torch.tensor([[0.5, 0.6, 0.0], [0.7, 0.0, 0.0]]),
        torch.tensor([[1, -1, 9], [0, 9, 9]]),
    )
    memory.write(1, replace(batch_of([1.0, 2.0], [3.0]), traits=traits))
    memory.write(1, batch_of([4.0], []))
    s = memory.read(1)
    assert s.valid.tolist() == [[True] * 3, [True, False, False]]
    torch.testing.assert_close(s.known.trust[s.valid], torch.tensor([0.5, 0.6, 1.0, 0.7]))
    assert s.known.second[s.valid].tolist() == [1, -1, -1, 0]
    assert memory.read(0).known.second.tolist() == [[-1] * 3] * 2


def test_memory_holds_no_graph_and_reading_it_is_a_copy() -> None:
    memory = Memory(groups=1, classes=1, size=2, dim=1)
    source = batch_of([1.0])
    source.vectors.requires_grad_()
    before = memory.read(0)
    memory.write(0, source)
    assert not memory.vectors.requires_grad
    assert not before.vectors.any(), "writing must not change what was read before"


def test_memory_is_saved_with_the_method() -> None:
    memory = Memory(groups=1, classes=1, size=2, dim=1)
    memory.write(0, batch_of([1.0, 2.0, 3.0][:1]))
    other = Memory(groups=1, classes=1, size=2, dim=1)
    other.load_state_dict(memory.state_dict())
    other.write(0, batch_of([9.0]))
    assert drawn(other.read(0), 0) == [1, 9]


def test_extended_and_first() -> None:
    s = batch_of([1.0, 2.0], [3.0]).extended(batch_of([4.0], [5.0, 6.0]))
    assert drawn(s, 0) == [1, 2, 4] and drawn(s, 1) == [3, 5, 6]
    assert drawn(s.first(1), 0) == [1]


def test_nearest_by_hand() -> None:
    # 6 -> 3: centres 1, 3, 5. 5 -> 2: floor(1.25), floor(3.75).
    value = torch.arange(30).reshape(1, 6, 5)
    assert nearest_at(value, (3, 2)).tolist() == [[[6, 8], [16, 18], [26, 28]]]


def test_nearest_keeps_leading_axes_and_equal_sizes() -> None:
    value = torch.randn(2, 3, 8, 8, 8)
    assert nearest_at(value, (2, 4, 8)).shape == (2, 3, 2, 4, 8)
    assert nearest_at(value, (8, 8, 8)) is value
    assert torch.equal(nearest_at(value, (2, 2, 2)), value[..., 2::4, 2::4, 2::4])
