"""Reads `experiments.yaml`: the same definitions as the API takes, each problem with its line and field.

experiments:
  - id: collaborative-or-hybrid
    variants:
      control: {algorithm: collaborative}
      variant_a: {algorithm: hybrid}
    layer: recommendations
    share: 0.5
"""

from pathlib import Path

from serving.api.schemas.experiments import Definition
from serving.declared import read_list
from serving.errors import InvalidExperiments

MAX_EXPERIMENTS = 200


def read_experiments(path: Path) -> list[Definition]:
    """The definitions of the file; none if it is not there. Raises `InvalidExperiments`."""
    return read_list(path, "experiments", Definition, MAX_EXPERIMENTS, InvalidExperiments, "id")
