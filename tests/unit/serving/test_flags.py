"""Feature flags: OpenFeature over the settings, read once."""

import pytest
from openfeature import api

from serving.errors import InvalidSetting
from serving.flags import DOMAIN, SWITCHES, Flags
from serving.settings import FLAGS, read_settings


def test_without_any_setting_the_documented_defaults_hold() -> None:
    flags = Flags(read_settings({}))
    assert {flag.name for flag in flags.all if not flag.is_enabled} == {"dynamic_pricing"}
    assert {flag.reason for flag in flags.all} == {"DEFAULT"}


@pytest.mark.parametrize("name", FLAGS)
def test_each_flag_follows_its_setting(name: str) -> None:
    setting, default = FLAGS[name]
    flags = Flags(read_settings({setting: str(not default)}))
    assert flags.enabled(name) is not default
    assert [flag.name for flag in flags.all if flag.reason == "STATIC"] == [name]
    off = flags if default else Flags(read_settings({}))
    assert off.disabled_by(name) == f"{setting}=false"


def test_a_feature_that_is_on_has_nothing_to_say() -> None:
    assert Flags(read_settings({})).disabled_by("ab_testing") is None


def test_the_flags_are_openfeature_flags_for_any_client_of_the_domain() -> None:
    Flags(read_settings({"ENABLE_AB_TESTING": "false"}))
    client = api.get_client(DOMAIN)
    found = client.get_boolean_details("ab_testing", True)
    assert (found.value, found.variant, str(found.reason)) == (False, "off", "STATIC")
    assert client.get_boolean_value("no_such_flag", True) is True
    assert client.get_string_details("ab_testing", "x").error_code is not None


def test_every_flag_says_what_it_switches() -> None:
    assert SWITCHES.keys() == FLAGS.keys()


def test_a_flag_that_is_neither_true_nor_false_stops_the_start() -> None:
    with pytest.raises(InvalidSetting, match=r"ENABLE_AB_TESTING='maybe'.*true, false"):
        read_settings({"ENABLE_AB_TESTING": "maybe"})
