"""Campaigns and journeys are refused with line, field, value and remedy, or mean what they say."""

from datetime import date
from pathlib import Path

import pytest

from feature_repo.layout import Home
from serving.campaigns.definitions import Audience, Campaign, read_campaigns
from serving.campaigns.journeys import Journey, diagram, read_journeys
from serving.campaigns.planning import arm_of, ranked
from serving.errors import InvalidDeclarations

CUSTOMER = {
    "user_id": "anna",
    "list": "at_risk",
    "value_segment": "at_risk",
    "loyalty_tier": "VIP",
    "churn_probability": 0.7,
    "clv_90d": None,
    "replenish_item_id": None,
}


def campaign(**changes: object) -> Campaign:
    return Campaign.model_validate({"name": "spring", "start": date(2026, 3, 1), **changes})


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("name: Spring!", r"line 2: name='Spring!' cannot be used"),
        ("channel: fax", r"line 4: channel='fax' .* 'email', 'sms' or 'push'"),
        ("control_share: 1", r"line 4: control_share=1 .* less than or equal to 0.9"),
        ("budget: 10", r"budget needs cost_per_message above 0; give what one message costs"),
        ("end: 2026-02-01", r"end=2026-02-01 is before start=2026-03-01; give a later end, or none"),
        ("segment: high", r"there is no field segment; use audience, budget, .*"),
        ("audience: {where: {age: [30]}}", r"there is no 'age'; use value_segment, .*"),
        ("audience: {where: {value_segment: [rich]}}", r"value_segment=\['rich'\] .* list some of high"),
        ("audience: {where: {clv_90d: [high]}}", r"clv_90d needs \{from: …, below: …\}"),
        ("audience: {where: {clv_90d: {from: 9, below: 3}}}", r"give a from that is less than below"),
        ("content: {product_link: 'https://shop.example/'}", r"leads to no item; write \{item_id\} in it"),
    ],
)
def test_a_campaign_that_cannot_be_used_is_refused(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "campaigns.yaml"
    head = "" if text.startswith("name") else "name: spring\n    start: 2026-03-01\n    "
    path.write_text(f"campaigns:\n  - {head}{text}\n", encoding="utf-8")
    with pytest.raises(InvalidDeclarations, match=problem):
        read_campaigns(path)


def test_two_campaigns_of_one_name_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "campaigns.yaml"
    one = "  - {name: spring, start: 2026-03-01}\n"
    path.write_text(f"campaigns:\n{one}{one}", encoding="utf-8")
    with pytest.raises(InvalidDeclarations, match="line 3: name='spring' .* it stands above already"):
        read_campaigns(path)


def test_a_file_that_cannot_be_read_is_named_without_its_folder(tmp_path: Path) -> None:
    (tmp_path / "campaigns.yaml").mkdir()
    with pytest.raises(
        InvalidDeclarations, match=r"campaigns.yaml: the file cannot be read \(Is a"
    ) as refused:
        read_campaigns(tmp_path / "campaigns.yaml")
    assert str(tmp_path) not in str(refused.value)


def test_a_home_without_campaigns_has_none(tmp_path: Path) -> None:
    assert read_campaigns(tmp_path / "campaigns.yaml") == []


@pytest.mark.parametrize(
    ("audience", "is_in_it"),
    [
        ({}, True),
        ({"list": "at_risk"}, True),
        ({"list": "loyal"}, False),
        ({"list": "replenishment"}, False),
        ({"list": "journey"}, False),
        ({"where": {"churn_probability": {"from": 0.7}}}, True),
        ({"where": {"churn_probability": {"below": 0.7}}}, False),
        ({"where": {"loyalty_tier": ["VIP", "Premium"], "value_segment": ["high"]}}, False),
        ({"where": {"clv_90d": {"from": 0}}}, False),
    ],
)
def test_an_audience_is_a_list_and_what_must_hold(audience: dict[str, object], is_in_it: bool) -> None:
    assert Audience.model_validate(audience).holds(CUSTOMER) is is_in_it


def test_the_best_come_first_and_what_is_not_known_last() -> None:
    customers = [
        {"user_id": name, "clv_90d": value, "list": "loyal"}
        for name, value in (("a", None), ("b", 5.0), ("c", 9.0), ("d", 5.0))
    ]
    found = ranked(campaign(audience={"list": "loyal"}), customers, {})
    assert [each["user_id"] for each in found] == ["c", "b", "d", "a"]


def test_a_campaign_holds_out_its_share_and_the_same_customers_every_day() -> None:
    one, other = campaign(control_share=0.2), campaign(name="summer", control_share=0.2)
    arms = [arm_of(one, f"u{number}") for number in range(2000)]
    assert 0.17 < arms.count("control") / 2000 < 0.23
    assert arms == [arm_of(one, f"u{number}") for number in range(2000)]
    both = sum(arm_of(each, f"u{n}") == "control" for n in range(2000) for each in (one, other))
    together = sum(arm == arm_of(other, f"u{n}") == "control" for n, arm in enumerate(arms))
    assert together < both / 4, "campaigns deal independently of each other"
    assert all(arm_of(campaign(control_share=0), f"u{number}") == "treated" for number in range(50))


# journeys

SOUND = {
    "name": "welcome",
    "trigger": {"event": "sign_up"},
    "first": "hello",
    "states": {
        "hello": {"act": {"send": "mail"}, "next": "pause"},
        "pause": {"wait": {"days": 3}, "next": "bought"},
        "bought": {"branch": [{"if": {"event": "purchase"}, "next": "done"}], "otherwise": "pause"},
        "done": {"end": True},
    },
}


def with_state(name: str, state: dict[str, object]) -> dict[str, object]:
    return {**SOUND, "states": {**SOUND["states"], name: state}}  # type: ignore[dict-item]


@pytest.mark.parametrize(
    ("journey", "problem"),
    [
        ({**SOUND, "first": "start"}, r"first leads to 'start', which is no state; use one of hello, "),
        (with_state("hello", {"act": {"send": "mail"}, "next": "gone"}), r"hello leads to 'gone', which is"),
        (with_state("lost", {"end": True}), r"no way leads to lost; lead one there, or take it out"),
        (
            with_state("pause", {"act": {"send": "mail"}, "next": "bought"}),
            r"pause comes back to itself without a wait; put a wait into the loop",
        ),
        (with_state("done", {"end": True, "next": "hello"}), r"next belongs to wait and act"),
        (with_state("done", {}), r"a state is one of wait, branch, act, end; this is none"),
        (with_state("pause", {"wait": {"days": 0}, "next": "bought"}), r"a wait of nothing is none"),
        ({**SOUND, "trigger": {}}, r"give event or audience, one of them"),
        ({**SOUND, "trigger": {"event": "sign_upp"}}, r"sign_upp"),
    ],
)
def test_a_journey_that_cannot_be_walked_is_refused(journey: dict[str, object], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        Journey.model_validate(journey)


def test_a_loop_with_a_wait_is_a_journey_and_has_a_diagram() -> None:
    assert diagram(Journey.model_validate(SOUND), {"pause": 2}).splitlines() == [
        "stateDiagram-v2",
        "    s1: hello - send mail (0)",
        "    s2: pause - wait 3 days (2)",
        "    s3: bought (0)",
        "    s4: done (0)",
        "    [*] --> s1: signup",
        "    s1 --> s2",
        "    s2 --> s3",
        "    s3 --> s4: purchase",
        "    s3 --> s2: otherwise",
        "    s4 --> [*]",
    ]


def test_a_journey_sends_campaigns_that_are_made_for_journeys(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.campaigns_file.write_text("campaigns: [{name: mail, start: 2026-03-01}]", encoding="utf-8")
    home.journeys_file.write_text(
        "journeys: [{name: j, trigger: {event: signup}, first: a, "
        "states: {a: {act: {send: mail}, next: b}, b: {end: true}}}]",
        encoding="utf-8",
    )
    with pytest.raises(InvalidDeclarations, match=r"j.a: send='mail' .* audience: \{list: journey\}"):
        read_journeys(home)
