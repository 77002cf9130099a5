"""The listening test in a browser. Needs Debian's `chromium` and Python's `playwright`."""

import json
import re

import pytest
from listening_cases import Listener, make_run, serving
from page_cases import answer, collected_in, hear_all, new_page, pass_training

from evaluation.listening.analysis import analyse
from evaluation.listening.answers import read_answers, read_key
from evaluation.listening.build import build_test

pytestmark = pytest.mark.slow

SYSTEMS = ["dense", "sniper"]
ITEMS = 20


@pytest.fixture(scope="module")
def test_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("listening")
    runs = [make_run(folder / name, name, seed) for seed, name in enumerate(SYSTEMS)]
    build_test(runs, ITEMS, 0, "", folder / "listening")
    return folder / "listening"


@pytest.fixture(scope="module")
def address(test_folder):
    with serving(test_folder) as (host, port):
        yield f"http://{host}:{port}/"


def test_three_listeners_with_a_reload_in_the_middle(test_folder, address, browser):
    """Three listeners prefer one system 70 : 30, and the analysis of what they sent finds it."""
    key = read_key(test_folder)
    for number in range(3):
        listener = Listener(number, "sniper", 0.7)
        page = new_page(browser)
        page.goto(address)
        plan = key.plans[int(re.search(r"plan=(\d+)", page.url)[1])]
        assert page.is_visible("text=Please use headphones")
        page.check("#headphones")
        pass_training(page)
        for position, trial in enumerate(plan):
            assert page.inner_text("#question").startswith(f"{position + 1} of {len(plan)}:")
            if position == len(plan) // 2:
                hear_all(page)
                page.reload()
                assert page.inner_text("#question").startswith(f"{position + 1} of {len(plan)}:")
                # Clips heard before the reload need not be heard again.
                assert page.is_enabled("#options input >> nth=0")
            answer(page, listener.answer(trial))
        page.wait_for_function(
            "() => document.getElementById('sent').textContent.includes('have been received')"
        )
        with page.expect_download() as download:
            page.click("#download")
        downloaded = json.loads(open(download.value.path()).read())
        assert page.faults == []
        page.reload()  # does not send the answers again
        assert "have been received" in page.inner_text("#sent")
        page.context.close()
        collected, refused = collected_in(test_folder, key)
        assert collected[-1] == downloaded and len(collected) == number + 1 and not refused
    assert [each["plan"] for each in collected] == [0, 1, 2]
    analysis = analyse(collected, 0, key)
    assert analysis.listeners == analysis.headphones == 3 and analysis.failed_checks == 0
    (result,) = analysis.preferences
    assert result["systems"] == SYSTEMS and result["answers"] == 3 * ITEMS
    for kind in ("exact", "bootstrap"):
        low, high = result[kind]
        assert low <= 0.3 <= high


def test_participants_of_a_platform_get_a_way_back_and_count_once(tmp_path, browser):
    runs = [make_run(tmp_path / name, name, seed) for seed, name in enumerate(SYSTEMS)]
    folder = tmp_path / "test"
    build_test(runs, 2, 0, "", folder, participant="WORKER PROLIFIC_PID")
    back = "https://app.example/complete?cc=C0DE"
    key = read_key(folder)
    with serving(folder, completion=back) as (host, port):
        # The second sends twice, from two browsers. The third leaves after one answer.
        for number, participant, trials in [
            (0, "p1", 99),
            (1, "p2", 99),
            (2, "p2", 99),
            (3, "p3", 1),
        ]:
            page = new_page(browser)
            page.goto(f"http://{host}:{port}/?PROLIFIC_PID={participant}")
            plan, listener = key.plans[number], Listener(number, "sniper", 0.7)
            assert f"plan={number}" in page.url
            assert f"Your participant ID is {participant}." in page.inner_text("#participant")
            pass_training(page)
            for trial in plan[:trials]:
                answer(page, listener.answer(trial))
            if trials > len(plan):
                link = page.wait_for_selector("#completion a")
                assert link.get_attribute("href") == back
            page.context.close()
    accepted, refused = read_answers(folder / "answers.jsonl", key)
    assert [each["participant"] for each in accepted] == ["p1", "p2"] and not refused


def test_answers_need_every_clip_to_be_heard_to_its_end(address, browser):
    page = new_page(browser)
    page.goto(f"{address}?plan=0")
    pass_training(page)
    assert not page.is_enabled("#options input >> nth=0")
    page.click("#next", force=True)  # aria-disabled, so it still takes clicks
    assert "listen to every recording" in page.inner_text("#status")
    for button in page.query_selector_all("#clips button"):
        assert not page.is_enabled("#options input >> nth=0")
        button.click()
        page.wait_for_function("button => button.classList.contains('heard')", arg=button)
    assert page.is_enabled("#options input >> nth=0")
    page.click("#next", force=True)
    assert "choose an answer" in page.inner_text("#status")
    assert page.inner_text("#question").startswith("1 of")


def test_the_page_works_with_keyboard_and_screen_reader(address, browser):
    page = new_page(browser)
    page.goto(f"{address}?plan=1")
    assert page.evaluate("document.activeElement.tagName") == "H1"
    for _ in range(3):
        page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "start"
    page.keyboard.press("Enter")
    assert page.inner_text("h1:focus") == "Examples"
    for _ in range(page.locator("#examples button").count()):
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        page.wait_for_function("() => document.activeElement.classList.contains('heard')")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "question"
    clips = page.locator("#clips button").count()
    for _ in range(clips):
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        page.wait_for_function("() => document.activeElement.classList.contains('heard')")
        assert page.inner_text("#status")
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    assert page.inner_text("#question").startswith("2 of")
    unnamed = page.evaluate(
        """[...document.querySelectorAll('button, input, progress')].filter((e) =>
            !(e.textContent.trim() || e.ariaLabel || e.labels?.length)).length"""
    )
    assert unnamed == 0
    assert page.get_by_role("group", name="Recordings", exact=True).count() == 1
    assert page.get_by_role("status").count() >= 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_a_phone_and_has_contrast(address, browser, scheme):
    page = new_page(browser, color_scheme=scheme)
    page.goto(f"{address}?plan=1")
    pass_training(page)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    heights = page.evaluate(
        "[...document.querySelectorAll('#trial button, #options label')].map(e => e.offsetHeight)"
    )
    assert heights and min(heights) >= 44  # pixels, the size of a fingertip
    script = """() => {
        const probe = document.createElement('div');
        probe.style.cssText = 'color: CanvasText; background: Canvas'; document.body.append(probe);
        const numbers = (c) => c.match(/[\\d.]+/g).slice(0, 3).map(Number);
        const paper = getComputedStyle(probe).backgroundColor;
        const pairs = [[getComputedStyle(document.body).color, paper],
                       [getComputedStyle(document.querySelector('#clips button')).color, paper]];
        const main = getComputedStyle(document.getElementById('next'));
        return [...pairs, [main.color, main.backgroundColor]].map((p) => p.map(numbers));
    }"""

    def luminance(colour: list[float]) -> float:
        linear = [(c / 255 + 0.055) / 1.055 for c in colour]
        return sum(w * c**2.4 for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    for text, paper in page.evaluate(script):
        bright, dim = sorted((luminance(text) + 0.05, luminance(paper) + 0.05), reverse=True)
        assert bright / dim > 4.5


def test_a_static_copy_only_offers_the_download(test_folder, browser):
    page = new_page(browser)
    page.goto(f"file://{test_folder}/test/index.html?plan=5")
    pass_training(page)
    plan, listener = read_key(test_folder).plans[5], Listener(9, "sniper", 0.7)
    for trial in plan:
        answer(page, listener.answer(trial))
    assert "download your answers" in page.inner_text("#sent")
    with page.expect_download() as download:
        page.click("#download")
    assert re.fullmatch(r"answers-[0-9a-f]{32}\.json", download.value.suggested_filename)
    assert page.faults == []
