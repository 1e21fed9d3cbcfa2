"""Whether off-policy intervals hold the truth, in simulated shops.

    python -m benchmarks.off_policy [--worlds 200] [--seed 1] [--json FILE] [--strict]

Each world is a catalogue and a population of the simulator. A ranker that knows tastes a little fills lists,
`serving.decisions.exploration` explores them with its own propensities, and visitors look at a place as
often as it is near the top and put what they look at into the cart as the simulator's choice model says. The
policy to judge ranks the same items by a better knowledge of tastes; what it would really earn is computed
over the whole population. Sample size and exploration differ from world to world, so that some worlds are
too thin. Prints for each estimator how often its 95 % interval held the truth, and when it abstained.
"""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np
import numpy.typing as npt
import pandas as pd

from orchestration.simulation.catalogue import Catalogue, draw_catalogue
from orchestration.simulation.choice import affinity, cart_rate
from orchestration.simulation.population import Population, draw_population
from serving.decisions.exploration import TAIL, explore
from training.logged_decisions import list_policy
from training.off_policy import Method, OffPolicyConfig, OffPolicyResult, evaluate_policy, policy_difference

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

ITEMS, PLACES, DAYS = 120, 6, 30
PEOPLE = 6000
SIZES = (100, 300, 800, 1500, 2500)
EPSILONS = (0.05, 0.1, 0.2)
LOOK_DECAY = 0.8
LOGGING_NOISE, TARGET_NOISE = 0.5, 0.2
LEVEL = 0.95


@dataclass(frozen=True)
class Judged:
    """One estimate in one world beside the truth."""

    world: int
    estimator: str
    truth: float
    result: OffPolicyResult

    @property
    def holds(self) -> bool:
        return self.result.low <= self.truth <= self.result.high


@dataclass(frozen=True)
class Shop:
    """Everybody's pool of items as the logging ranker orders them, the target's list, and what they earn.

    `appeal` is the chance that a look at an item of the pool leads into the cart.
    """

    pool: IntArray
    target: IntArray
    appeal: FloatArray
    visits: FloatArray

    def value(self, places: FloatArray) -> float:
        """Expected carts per shown item, over the population; `places`[user, k, item of pool] are chances."""
        look = np.arange(1, PLACES + 1) ** -LOOK_DECAY
        earned = np.einsum("ukp,up,k->u", places, self.appeal, look) / PLACES
        return float((earned * self.visits).sum() / self.visits.sum())


def main(arguments: Sequence[str] | None = None) -> int:
    """Simulates, prints, and returns the exit status."""
    options = _parser().parse_args(arguments)
    started = time.perf_counter()
    judged = [each for world in range(options.worlds) for each in judge_world(options.seed, world)]
    rows = summary(judged)
    print(f"{options.worlds} worlds, seed {options.seed}, {time.perf_counter() - started:.0f} s\n")
    print(table(rows))
    thin = [each for each in judged if each.result.effective_sample < OffPolicyConfig().minimum_sample]
    loud = [each for each in thin if not each.result.abstains]
    print(f"\neffective sample below 100: {len(thin)} evaluations, of which {len(loud)} did not abstain")
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2), encoding="utf-8")
    failed = loud or any(row["coverage"] < LEVEL for row in rows)
    return 1 if options.strict and failed else 0


def judge_world(seed: int, world: int) -> list[Judged]:
    """All estimators, of the target's value and of its gain over what was served, in one world."""
    rng = np.random.default_rng([seed, world])
    shop = draw_shop(rng)
    size, epsilon = SIZES[world % len(SIZES)], EPSILONS[world % len(EPSILONS)]
    users = rng.choice(PEOPLE, size, replace=False)
    rows = draw_log(rng, shop, users, epsilon, f"{seed}-{world}")
    lists = {str(user): shop.pool[user][shop.target[user]].astype(str).tolist() for user in users}
    policy = list_policy(rows, lists)
    truth, served = shop.value(_certain(shop.target)), shop.value(_explored(epsilon))
    found = []
    for method in get_args(Method):
        result = evaluate_policy(policy.logged, policy.target, method)
        gain = policy_difference(policy.logged, policy.target, policy.served, method)
        found.append(Judged(world, method, truth, result))
        found.append(Judged(world, f"{method}, gain over served", truth - served, gain))
    return found


def draw_shop(rng: np.random.Generator) -> Shop:
    """A catalogue, a population, and two rankers that see tastes through noise."""
    catalogue = draw_catalogue(rng, ITEMS, DAYS)
    population = draw_population(rng, PEOPLE, DAYS, catalogue)
    user, item = np.arange(PEOPLE)[:, None], np.arange(ITEMS)[None, :]
    liking = affinity(catalogue, population, user, item)
    pool = np.argsort(-(liking + LOGGING_NOISE * rng.normal(size=liking.shape)), axis=1)[:, : PLACES + TAIL]
    known = np.take_along_axis(liking, pool, axis=1) + TARGET_NOISE * rng.normal(size=pool.shape)
    return Shop(
        pool,
        np.argsort(-known, axis=1)[:, :PLACES],
        _appeal(catalogue, population, pool),
        1.0 + np.minimum(population.visit_rate, 6.0),
    )


def draw_log(
    rng: np.random.Generator, shop: Shop, users: IntArray, epsilon: float, seed: str
) -> pd.DataFrame:
    """What these users were shown and what they did, as rows of `explored_places`."""
    counts = 1 + rng.poisson(shop.visits[users] - 1.0)
    visitor = np.repeat(users, counts)
    ranked, tail = list(range(PLACES)), list(range(PLACES, PLACES + TAIL))
    drawn = [explore(ranked, tail, epsilon, f"{seed}-{number}") for number in range(len(visitor))]
    shown = np.array([positions for positions, _ in drawn])
    place = np.tile(np.arange(1, PLACES + 1), len(visitor))
    chance = shop.appeal[visitor[:, None], shown].ravel() * place**-LOOK_DECAY
    return pd.DataFrame(
        {
            "recommendation_id": np.repeat(np.arange(len(visitor)), PLACES),
            "user_id": np.repeat(visitor, PLACES).astype(str),
            "item_id": shop.pool[visitor[:, None], shown].ravel().astype(str),
            "place": place,
            "propensity": np.array([propensities for _, propensities in drawn]).ravel(),
            "clicked": rng.random(len(chance)) < chance,
        }
    )


def summary(judged: Sequence[Judged]) -> list[dict[str, float | str]]:
    """Per estimator: coverage where it answers, and in all worlds; error and width where it answers."""
    rows: list[dict[str, float | str]] = []
    for estimator in dict.fromkeys(each.estimator for each in judged):
        mine = [each for each in judged if each.estimator == estimator]
        answers = [each for each in mine if not each.result.abstains]
        errors = np.array([each.result.estimate - each.truth for each in answers])
        rows.append(
            {
                "estimator": estimator,
                "answers": len(answers),
                "abstains": len(mine) - len(answers),
                "coverage": float(np.mean([each.holds for each in answers])) if answers else float("nan"),
                "coverage_all": float(np.mean([each.holds for each in mine])),
                "truth": float(np.mean([each.truth for each in mine])),
                "bias": float(errors.mean()) if answers else float("nan"),
                "rmse": float(np.sqrt((errors**2).mean())) if answers else float("nan"),
                "width": float(np.mean([each.result.high - each.result.low for each in answers])),
            }
        )
    return rows


def table(rows: Sequence[dict[str, float | str]]) -> str:
    """Aligned text."""
    return pd.DataFrame(rows).to_string(index=False, float_format=lambda value: f"{value:.4f}")


def _appeal(catalogue: Catalogue, population: Population, pool: IntArray) -> FloatArray:
    everybody = np.repeat(np.arange(PEOPLE), pool.shape[1])
    last_day = np.full(pool.size, DAYS - 1)
    rate, _ = cart_rate(catalogue, population, everybody, pool.ravel(), last_day)
    return rate.reshape(pool.shape)


def _certain(target: IntArray) -> FloatArray:
    return np.eye(PLACES + TAIL)[target]


def _explored(epsilon: float) -> FloatArray:
    """The chances of `serving.decisions.exploration`, the same for everybody."""
    chances = np.full((PLACES, PLACES + TAIL), epsilon / TAIL)
    chances[:, :PLACES] = (1.0 - epsilon) * np.eye(PLACES)
    return np.broadcast_to(chances, (PEOPLE, *chances.shape))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.off_policy", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--worlds", type=int, default=200, help="number of worlds (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="first seed (default: %(default)s)")
    parser.add_argument("--json", type=Path, help="also write the table to this file")
    parser.add_argument("--strict", action="store_true", help="exit with 1 if an interval covers too rarely")
    return parser


if __name__ == "__main__":
    sys.exit(main())
