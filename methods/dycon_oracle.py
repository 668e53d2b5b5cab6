"""DyCON as published (Assefa et al. 2025, arXiv:2504.04566): its contrasts read true labels.

The class of a patch of an unlabelled image is taken from its TRUE label, as in the code
(github.com/KU-CVML/DyCON at 69c1384, `code/train_DyCON_BraTS19.py`, lines 226-251; the authors'
answer in issue 1). Such a run is not semi-supervised: it is shown to tell how much of the published
gain that is, and neither ranked nor compared. Equations and all other deviations: `dycon`.
"""

from __future__ import annotations

from torch import Tensor

from methods.base import Batch, OracleBatch
from methods.dycon import DyCON


class DyCONOracle(DyCON):
    """DyCON with the true classes of unlabelled patches."""

    title = "DyCON, true labels"
    footnote = "DyCON, true labels: reads the labels of images that it calls unlabelled; no rank."
    oracle = True

    def classes_of(self, batch: Batch, target: Tensor) -> Tensor:
        """The true classes (U, *S).

        Raises:
            TypeError: the batch was read without them.
        """
        del target
        if not isinstance(batch, OracleBatch):
            raise TypeError(f"an oracle needs an OracleBatch, not a {type(batch).__name__}")
        return batch.truth
