"""The dashboard in a real browser, over a home of four days, where keys are configured."""

import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select, WebDriverWait

from tests.browser import asked_hosts, browser, complaints, needs_browser
from tests.mart_rows import publish_marts
from tests.served import write_keys
from tests.servers import ServedProcess
from tests.serving_home import make_home
from training.experiments.analysis import Users
from training.experiments.metrics import Metric
from training.experiments.report import Design, Observed, compare_period, report

pytestmark = [pytest.mark.e2e, needs_browser]

AXE = Path(__file__).parent / "axe" / "axe.min.js"
SECTIONS = (
    "overview", "lift", "customers", "segments", "recommendations", "experiments", "bundles", "profit",
    "opportunities", "campaigns", "journeys", "models", "health", "customer&customer=anna",
)  # fmt: skip
KEY = "dashboard-reader"
CONVERSION = Metric("conversion_rate", "conversion", "order_count", window_days=1, margin=0.02)
REVENUE = Metric(
    "revenue_per_visitor", "mean", "spend", window_days=1, margin=0.1, description="Spend for each visitor."
)
ERRS = {"conversion_rate": {"fixed_at_end": 0.049, "always_valid_daily": 0.021}}
SHOWN = "return document.getElementById('content').dataset.shown === location.search"
SET_DATE = (
    "arguments[0].value = arguments[1]; arguments[0].dispatchEvent(new Event('change', {bubbles: true}))"
)
LAST_ROW = """
const details = document.querySelector('[data-series=revenue] details');
if (!details.open) details.querySelector('summary').click();
return details.querySelector('tbody tr:last-child')?.innerText;
"""
RUN_AXE = """
const done = arguments[arguments.length - 1];
axe.run(document, {resultTypes: ['violations']}).then((found) => done(
  found.violations.filter((each) => ['serious', 'critical'].includes(each.impact))
    .map((each) => each.id + ': ' + each.nodes.map((node) => node.html).slice(0, 3).join(' | '))));
"""


def arms(names: Sequence[str], rate: float, better: float, spend: float = 0.0) -> dict[str, Users]:
    """2,000 visitors an arm, web and app, with a habit of before; in the last arm more of them buy."""
    draw = np.random.default_rng(5)
    found = {}
    for name, share in zip(names, (rate, better), strict=True):
        habit = draw.normal(0, 1, (2000, 1))
        bought = (draw.random(2000) < share) * (1.0 + spend)
        segments = {"device_type": np.repeat(["app", "web"], 1000)}
        found[name] = Users(np.zeros(2000, int), bought, None, habit, segments)
    return found


def shelf() -> dict[str, Any]:
    """A test in which more conversions are certain and revenue is guarded, with 450 of 4,000 misplaced."""
    names = ("control", "shelf")
    design = Design("new_shelf", dict.fromkeys(names, 0.5), (CONVERSION,), (REVENUE,))
    users = {
        "conversion_rate": arms(names, 0.2, 0.3),
        "revenue_per_visitor": arms(names, 0.2, 0.3, 9.0),
    }
    return report(design, Observed(users, {"control": 2000, "shelf": 2450}, 3), day_text, ERRS)


def holdout() -> dict[str, Any]:
    """The permanent holdout, over all time and over the last days."""
    names = ("held_out", "included")
    design = Design("holdout", {"held_out": 0.5, "included": 0.5}, (REVENUE,))
    observed = Observed({"revenue_per_visitor": arms(names, 0.2, 0.3, 9.0)}, dict.fromkeys(names, 2000), 3)
    last = {"from": "2024-01-02", "until": "2024-01-31"} | compare_period(design, observed)
    return report(design, observed, day_text, {}) | {"periods": {"30_days": last}}


def day_text(day: int) -> str:
    return f"2024-01-{28 + day}"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[webdriver.Chrome, str]]:
    """A browser that has given its key, and the address of the page."""
    folder = tmp_path_factory.mktemp("dashboard")
    home = make_home(folder / "home")
    publish_marts(home)
    for result in (shelf(), holdout()):
        path = home.experiment_result(result["experiment_id"])
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(result))
    keys = write_keys(folder / "keys.yml", **{KEY: ("read", None)})
    service = ServedProcess(home.root, folder / "log", ATTUNE_WORKERS="1", ATTUNE_API_KEYS_FILE=str(keys))
    try:
        with browser(folder / "profile") as driver:
            service.wait_ready()
            address = f"http://127.0.0.1:{service.port}/dashboard"
            driver.get(address)
            wait(driver, "return document.getElementById('dialog').open")
            driver.find_element(By.NAME, "key").send_keys(KEY, Keys.ENTER)
            wait(driver, "return document.querySelector('[data-figure]') !== null")
            complaints(driver)  # of the answer 401 that asked for the key
            yield driver, address
    finally:
        service.end()


def wait(driver: webdriver.Chrome, script: str) -> None:
    """Until a script is true."""
    WebDriverWait(driver, 15, 0.02).until(lambda each: each.execute_script(script), script)


def show(page: tuple[webdriver.Chrome, str], section: str) -> None:
    """Open a section and wait for its figures."""
    driver, address = page
    driver.get(f"{address}?section={section}")
    wait(driver, SHOWN)


def percent(share: float) -> str:
    """As the page writes it."""
    digits = f"{100 * share:.{2 if share < 0.1 else 1}f}"
    return f"{digits.rstrip('0').rstrip('.')}%"


def table_text(driver: webdriver.Chrome, name: str) -> str:
    """What the rows of a table say."""
    return driver.find_element(By.CSS_SELECTOR, f"[data-table={name}] tbody").text


def revenue(driver: webdriver.Chrome) -> str:
    """The text of the figure."""
    return driver.find_element(By.CSS_SELECTOR, "[data-figure=revenue] .value").text


def test_the_key_is_kept_for_this_tab_alone(page: tuple[webdriver.Chrome, str]) -> None:
    driver, _ = page
    assert driver.execute_script("return Object.values(sessionStorage)") == [KEY]
    assert KEY not in driver.execute_script("return JSON.stringify(localStorage) + document.cookie")


@pytest.mark.parametrize("section", SECTIONS)
def test_a_section_shows_no_blank_no_complaint_no_serious_fault_and_asks_this_machine_alone(
    page: tuple[webdriver.Chrome, str], section: str
) -> None:
    driver, _ = page
    asked_hosts(driver)
    show(page, section)
    text = driver.find_element(By.ID, "content").text
    assert text and not any(word in text for word in ("NaN", "undefined", "[object", "null"))
    assert not driver.find_elements(By.CSS_SELECTOR, "#content [role=alert]")
    assert complaints(driver) == []
    assert asked_hosts(driver) == {"127.0.0.1"}
    driver.execute_script(AXE.read_text())
    assert driver.execute_async_script(RUN_AXE) == []


def test_an_experiment_shows_lift_interval_verdict_and_how_often_its_method_errs(
    page: tuple[webdriver.Chrome, str],
) -> None:
    driver, _ = page
    show(page, "experiments")
    [entry] = shelf()["metrics"][0]["variants"]
    row = table_text(driver, "results_of_new_shelf")
    lift = entry["lift"]["always_valid"]
    for share in (lift["estimate"], lift["low"], lift["high"], 0.049, 0.021):
        assert percent(share) in row
    assert entry["verdict"]["text"] in row
    segments = table_text(driver, "segments_of_new_shelf")
    assert "Device type: app" in segments and "Device type: web" in segments
    assert table_text(driver, "guardrails_of_new_shelf").split()[-3:] == ["shelf", "10%", "held"]
    assert "no verdict can be trusted" in driver.find_element(By.CSS_SELECTOR, ".warning").text


def test_lift_is_shown_since_the_holdout_began_and_of_late(page: tuple[webdriver.Chrome, str]) -> None:
    driver, _ = page
    show(page, "lift")
    result = holdout()
    for suffix, kind, [metric] in (
        ("", "always_valid", result["metrics"]),
        ("_of_the_last_30_days", "fixed", result["periods"]["30_days"]["metrics"]),
    ):
        lift = metric["variants"][0]["lift"][kind]
        row = table_text(driver, f"lift{suffix}")
        assert all(percent(lift[each]) in row for each in ("estimate", "low", "high"))
        assert "Spend for each visitor." in row
        assert "Device type: web" in table_text(driver, f"lift_by_segment{suffix}")
    text = driver.find_element(By.ID, "content").text
    assert "2024-01-02 to 2024-01-31: 2000 personalized visitors, 2000 held out" in text
    assert result["verdict"]["text"] in text


def test_a_filter_changes_the_address_and_the_numbers_and_going_back_undoes_it(
    page: tuple[webdriver.Chrome, str],
) -> None:
    driver, _ = page
    show(page, "overview")
    assert revenue(driver) == "€60.00"
    Select(driver.find_element(By.NAME, "days")).select_by_value("custom")
    driver.execute_script(SET_DATE, driver.find_element(By.NAME, "from"), "2024-01-30")
    wait(driver, SHOWN)
    assert "from=2024-01-30" in driver.current_url
    assert revenue(driver) == "€50.00"
    driver.back()
    wait(driver, SHOWN)
    assert revenue(driver) == "€60.00"
    driver.forward()
    wait(driver, SHOWN)
    assert revenue(driver) == "€50.00"


def test_a_chart_is_read_as_a_table_and_a_number_leads_to_its_meaning_and_its_asset(
    page: tuple[webdriver.Chrome, str],
) -> None:
    driver, _ = page
    show(page, "overview")
    figure = driver.find_element(By.CSS_SELECTOR, "[data-series=revenue]")
    assert "highest €30.00 on 2024-01-30" in figure.find_element(By.CSS_SELECTOR, "[role=img]").get_attribute(
        "aria-label"
    )
    assert figure.find_element(By.TAG_NAME, "canvas").size["width"] > 200
    cells = WebDriverWait(driver, 15, 0.02).until(lambda each: each.execute_script(LAST_ROW)).split()
    assert cells[:2] == ["2024-01-31", "€20.00"]
    figure = driver.find_element(By.CSS_SELECTOR, "[data-series=revenue]")
    assert figure.find_element(By.CSS_SELECTOR, "button.csv").get_attribute("aria-label").endswith("as CSV")
    name = driver.find_element(By.CSS_SELECTOR, "[data-figure=revenue] .name")
    meaning = driver.find_element(By.ID, name.get_attribute("href").split("#")[1])
    assert meaning.text.startswith("Revenue")


def test_the_keyboard_reaches_skip_link_tools_and_navigation(page: tuple[webdriver.Chrome, str]) -> None:
    driver, _ = page
    show(page, "overview")
    reached = []
    for _step in range(5):
        driver.switch_to.active_element.send_keys(Keys.TAB)
        reached.append(
            driver.switch_to.active_element.text or driver.switch_to.active_element.get_attribute("class")
        )
    assert reached[1:] == ["Dark", "Settings", "Overview", "Lift"]
    driver.switch_to.active_element.send_keys(Keys.ENTER)
    wait(driver, SHOWN)
    assert "section=lift" in driver.current_url
    assert driver.find_element(By.CSS_SELECTOR, "nav [aria-current=page]").text == "Lift"
    assert driver.switch_to.active_element.get_attribute("id") == "main"


def test_dark_follows_the_system_and_the_switch_and_is_as_legible(page: tuple[webdriver.Chrome, str]) -> None:
    driver, _ = page
    scheme = {"features": [{"name": "prefers-color-scheme", "value": "dark"}]}
    background = "return getComputedStyle(document.body).backgroundColor"
    show(page, "overview")
    light = driver.execute_script(background)
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", scheme)
    try:
        wait(driver, "return document.documentElement.dataset.theme === 'dark'")
        assert driver.execute_script(background) != light
        driver.execute_script(AXE.read_text())
        assert driver.execute_async_script(RUN_AXE) == []
        driver.find_element(By.ID, "theme").click()
        assert driver.execute_script(background) == light
    finally:
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
        driver.execute_script("localStorage.clear()")


def test_on_a_phone_nothing_is_wider_than_the_screen(page: tuple[webdriver.Chrome, str]) -> None:
    driver, _ = page
    phone = {"width": 360, "height": 740, "deviceScaleFactor": 1, "mobile": True}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", phone)
    try:
        for section in ("overview", "recommendations", "customer&customer=anna"):
            show(page, section)
            assert driver.execute_script("return document.documentElement.scrollWidth") <= 360
    finally:
        driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_the_receipt_of_what_a_customer_would_be_shown_can_be_read(
    page: tuple[webdriver.Chrome, str],
) -> None:
    driver, _ = page
    show(page, "customer&customer=anna")
    assert "mug" in driver.find_element(By.CSS_SELECTOR, "[data-table=shown]").text
    button = driver.find_element(By.XPATH, "//button[text()='Show the receipt']")
    deadline = time.monotonic() + 10  # decisions are written in the background
    while time.monotonic() < deadline and not driver.find_elements(By.CSS_SELECTOR, ".receipt details"):
        button.click()
        time.sleep(0.2)
    assert "identical" in driver.find_element(By.CSS_SELECTOR, ".receipt details").text
