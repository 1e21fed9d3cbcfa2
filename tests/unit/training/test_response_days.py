"""Days after a message that tell what it caused: known worlds, drawn many times."""

from typing import Any

import numpy as np
import pytest

from training.response_days import (
    ArmDays,
    CausedDays,
    caused_days,
    countings,
    evenly,
    together,
)

Floats = np.ndarray[Any, np.dtype[np.float64]]
STRETCHES = np.array([1.0, 1.0, 2.0, 4.0])
WORTH = 20.0


def arm(visits: Floats, revenue: Floats) -> ArmDays:
    """Sums of what (customers, stretches) tell."""
    return ArmDays(
        len(visits),
        visits.sum(axis=0),
        (visits**2).sum(axis=0),
        revenue.sum(axis=0),
        (revenue**2).sum(axis=0),
    )


def world(draw: np.random.Generator, users: int, caused: tuple[float, ...]) -> tuple[Floats, Floats]:
    """Days visited and revenue of customers, each of shape (users, stretches).

    They visit on a tenth of all days anyway and by the message as often as `caused` says; one visit in
    twenty brings twenty times the WORTH of a visit.
    """
    visits = draw.binomial(STRETCHES.astype(int), 0.1, (users, 4)) + draw.binomial(1, caused, (users, 4))
    return visits.astype(float), 20 * WORTH * draw.binomial(visits.astype(int), 0.05)


def estimates(draw: np.random.Generator, caused: tuple[float, ...]) -> tuple[Floats, Floats, float]:
    """What a message to 4,000 customers brought, by response days and evenly: (estimate, its error)."""
    sides = {"treated": world(draw, 4000, caused), "held_out": world(draw, 1000, (0.0,) * 4)}
    days = caused_days(arm(*sides["treated"]), arm(*sides["held_out"]))
    found = []
    for counting in (countings({"email": days})["email"], evenly(4)):
        values = [revenue @ counting.orders + visits @ counting.visits for visits, revenue in sides.values()]
        estimate = 4000 * (values[0].mean() - values[1].mean())
        error = 4000 * np.sqrt(sum(value.var(ddof=1) / len(value) for value in values))
        found.append((estimate, error))
    return np.array(found[0]), np.array(found[1]), days.first_stage_f


def test_what_a_message_causes_is_told_without_bias_and_with_less_error() -> None:
    draw = np.random.default_rng(7)
    runs = [estimates(draw, (0.15, 0.05, 0.0, 0.0)) for _ in range(600)]
    counted, plain = (np.array([run[number] for run in runs]) for number in (0, 1))
    truth = 4000 * 0.2 * WORTH
    for found in (counted, plain):
        assert abs(found[:, 0].mean() - truth) < 3.3 * found[:, 0].std() / np.sqrt(len(runs))
        inside = np.abs(found[:, 0] - truth) <= 1.96 * found[:, 1]
        assert 0.925 < inside.mean() < 0.975
    assert counted[:, 0].std() < 0.7 * plain[:, 0].std()


def test_a_message_without_visits_counts_every_day_alike() -> None:
    counted, plain, strength = estimates(np.random.default_rng(8), (0.0, 0.0, 0.0, 0.0))
    assert strength < 10
    assert counted == pytest.approx(plain)


def caused(visits: list[float], variance: float, revenue: list[float]) -> CausedDays:
    spread = np.full(4, variance)
    return CausedDays(np.array(visits), spread, np.array(revenue), spread)


def test_a_channel_with_few_visits_counts_days_as_all_channels_do() -> None:
    mail, push = (
        caused([30.0, 10.0, 0.0, 0.0], 1.0, [300.0, 100.0, 5.0, 5.0]),
        caused([1.0] * 4, 1.0, [9.0] * 4),
    )
    found = countings({"email": mail, "push": push})
    shape = np.array([31.0, 11.0, 1.0, 1.0])
    assert found["push"].orders == pytest.approx(shape.sum() * shape / (shape**2).sum())
    assert found["push"].visits == pytest.approx(np.zeros(4))
    assert found["email"].orders == pytest.approx(40 * mail.visits / 1000)


def test_orders_and_visits_weighed_add_up_to_the_worth_of_the_caused_visits() -> None:
    mail = caused([30.0, 10.0, -2.0, 2.0], 1.0, [330.0, 90.0, 1.0, 7.0])
    counting = countings({"email": mail})["email"]
    total = mail.revenue @ counting.orders + mail.visits @ counting.visits
    worth = (mail.visits @ mail.revenue) / (mail.visits @ mail.visits)
    assert total == pytest.approx(worth * mail.visits.sum())


def test_days_without_any_order_tell_nothing_and_break_nothing() -> None:
    mail = CausedDays(np.array([30.0, 10.0]), np.ones(2), np.array([300.0, 0.0]), np.array([4.0, 0.0]))
    counting = countings({"email": mail})["email"]
    assert counting.orders == pytest.approx([40 / 30, 0.0])
    nothing = CausedDays(mail.visits, mail.visits_variance, np.zeros(2), np.zeros(2))
    assert countings({"email": nothing})["email"].orders == pytest.approx([1.0, 1.0])


def test_campaigns_add_up_and_none_is_no_counting() -> None:
    both = together([caused([1.0] * 4, 2.0, [3.0] * 4), caused([2.0] * 4, 1.0, [4.0] * 4)])
    assert (both.visits[0], both.visits_variance[0], both.revenue[0]) == (3.0, 3.0, 7.0)
    assert countings({}) == {}
