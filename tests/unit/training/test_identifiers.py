import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.identifiers import UNKNOWN, IdMap


@given(st.lists(st.text(max_size=5)))
def test_every_id_maps_to_its_position_and_back_whatever_the_order(values: list[str]) -> None:
    ids = IdMap.of(values)
    assert ids == IdMap.of(reversed(values))
    assert ids.external(ids.positions(values)) == values


def test_an_unknown_id_is_explicit() -> None:
    ids = IdMap.of(["b", "a"])
    assert ids.positions(["a", "z", "b"]).tolist() == [0, UNKNOWN, 1]
    assert "z" not in ids


def test_an_unknown_position_raises_instead_of_naming_the_last_id() -> None:
    with pytest.raises(IndexError, match="drop unknown"):
        IdMap.of(["a", "b"]).external([UNKNOWN])


def test_unsorted_ids_are_refused() -> None:
    with pytest.raises(ValueError, match=r"IdMap\.of"):
        IdMap(("b", "a"))
