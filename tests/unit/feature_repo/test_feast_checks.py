import feast
import pytest
import typeguard


@typeguard.typechecked
def doubled(value: int) -> int:
    return 2 * value


def test_feast_is_imported_without_checks_that_recompile_its_sources() -> None:
    # An instrumented function calls one of typeguard's before anything else.
    assert "check_argument_types" not in feast.Entity.__init__.__code__.co_names


def test_other_code_is_still_checked() -> None:
    with pytest.raises(typeguard.TypeCheckError):
        doubled("two")  # type: ignore[arg-type]
