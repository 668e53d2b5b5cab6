"""Named random streams."""

from __future__ import annotations

import torch

from benchmarks.engine.seeding import derive, fork_seed, generator


def test_stream_is_a_fixed_function_of_its_name() -> None:
    # `printf 7/augment/3 | sha256sum`, first 16 hex digits, shifted right by one bit.
    assert derive(7, "augment", 3) == 0x24C03A5330829F77 >> 1


def test_streams_differ_and_fit_63_bits() -> None:
    values = {derive(s, name, step) for s in range(5) for name in "ab" for step in range(50)}
    assert len(values) == 500
    assert all(0 <= value < 2**63 for value in values)


def test_generator_starts_its_stream_afresh() -> None:
    first, second = (torch.rand(8, generator=generator(1, "x", 2)) for _ in range(2))
    assert torch.equal(first, second)
    assert not torch.equal(first, torch.rand(8, generator=generator(1, "x", 3)))


def test_generator_ignores_the_global_state() -> None:
    torch.manual_seed(0)
    first = torch.rand(4, generator=generator(1, "x"))
    torch.manual_seed(99)
    assert torch.equal(first, torch.rand(4, generator=generator(1, "x")))


def test_fork_seeds_inside_and_restores_outside() -> None:
    torch.manual_seed(0)
    expected = torch.rand(4)
    torch.manual_seed(0)
    with fork_seed(3, "net", 0):
        inside = torch.rand(4)
    assert torch.equal(torch.rand(4), expected)
    with fork_seed(3, "net", 0):
        assert torch.equal(torch.rand(4), inside)


def test_fork_restores_after_an_error() -> None:
    torch.manual_seed(0)
    before = torch.random.get_rng_state()
    try:
        with fork_seed(3, "net"):
            raise KeyError
    except KeyError:
        pass
    assert torch.equal(torch.random.get_rng_state(), before)
