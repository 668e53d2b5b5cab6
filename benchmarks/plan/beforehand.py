"""What can be told wrong of a plan before anything is fetched, prepared or trained."""

from __future__ import annotations

from benchmarks.common.errors import ConfigError
from benchmarks.config import BenchmarkConfig
from benchmarks.plan.resolve import dimension, method_params, refuse_long_stages


def refuse_wrong_cells(config: BenchmarkConfig) -> None:
    """Check the parameters of all cells of a grid, and its folds.

    Raises:
        ConfigError: an unknown key or wrong value of a data set, of training or of a method, a
            stage that outlasts the run, or a fold that a split will not have.
    """
    grid = config.grid
    for dataset in grid.datasets:
        ndim = dimension(config, dataset)
        count = config.data[dataset].split.folds
        late = [fold for fold in grid.folds if fold >= count]
        if late:
            raise ConfigError(
                f"grid.folds names fold {late[0]}, but data.{dataset}.split.folds is {count}: give"
                f" numbers below {count}, or set data.{dataset}.split.folds to {max(late) + 1}"
            )
        length = config.train_for(dataset).iterations
        for method in grid.methods:
            params = method_params(config, method, ndim)
            # Equal operations give other lengths, which are counted on networks by `resolve`.
            if grid.equal == "steps":
                refuse_long_stages(method, params, config.steps.get(method, length))
