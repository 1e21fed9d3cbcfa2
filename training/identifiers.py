"""External ids and their matrix positions."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

Positions = npt.NDArray[np.int64]

UNKNOWN = -1


@dataclass(frozen=True)
class IdMap:
    """An immutable, sorted set of external ids; the position of an id is its matrix row or column.

    An id that is not in the map has position `UNKNOWN` (-1), never a wrong one.
    """

    ids: tuple[str, ...]

    def __post_init__(self) -> None:
        if any(left >= right for left, right in zip(self.ids, self.ids[1:], strict=False)):
            raise ValueError("ids must be sorted and distinct; use IdMap.of(values)")

    @classmethod
    def of(cls, values: Iterable[str]) -> "IdMap":
        """The map of the distinct values, in sorted order, so that the order of the input changes nothing."""
        return cls(tuple(sorted(set(values))))

    @cached_property
    def position(self) -> dict[str, int]:
        """Id -> position."""
        return {value: index for index, value in enumerate(self.ids)}

    def positions(self, values: Iterable[str]) -> Positions:
        """Position of each value, `UNKNOWN` where the map does not have it."""
        lookup = self.position
        return np.fromiter((lookup.get(value, UNKNOWN) for value in values), dtype=np.int64)

    def external(self, positions: Iterable[int]) -> list[str]:
        """Id at each position; a negative position raises IndexError instead of counting from the end."""
        chosen = [int(position) for position in positions]
        if chosen and min(chosen) < 0:
            raise IndexError(f"position {min(chosen)} is no id; drop unknown positions first")
        return [self.ids[position] for position in chosen]

    def __len__(self) -> int:
        return len(self.ids)

    def __contains__(self, value: object) -> bool:
        return value in self.position
