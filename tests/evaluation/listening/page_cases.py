"""Drives the page of a listening test in Chromium."""

from pathlib import Path

from axe_playwright_python.sync_playwright import Axe

from evaluation.listening.answers import read_answers
from evaluation.listening.store import AnswerStore

SERIOUS = ("serious", "critical")
# At normal speed, clips of a second would make each simulated listener take a minute.
FAST = "HTMLMediaElement.prototype.play = new Proxy(HTMLMediaElement.prototype.play, {" + (
    "apply(play, player) { player.playbackRate = 12; return Reflect.apply(play, player, []); } });"
)


def new_page(browser, **options):
    """Open a page in a new browser context; `page.faults` collects its console messages."""
    page = browser.new_context(viewport={"width": 390, "height": 844}, **options).new_page()
    page.add_init_script(FAST)
    page.faults = []
    page.on("console", lambda message: page.faults.append(message.text))
    page.on("pageerror", lambda error: page.faults.append(str(error)))
    return page


def collected_in(folder: Path, key):
    AnswerStore(folder, key).close()  # exports the answers
    return read_answers(folder / "answers.jsonl", key)


def hear_all(page, place: str = "#clips") -> None:
    for button in page.query_selector_all(f"{place} button"):
        button.click()
        page.wait_for_function("button => button.classList.contains('heard')", arg=button)


def answer(page, value) -> None:
    """Hear all clips, choose the answer of a simulated listener, and go on."""
    hear_all(page)
    if isinstance(value, list):
        for slider, score in zip(page.query_selector_all("#options input"), value, strict=True):
            slider.fill(str(score))
    elif isinstance(value, dict):
        for name, place in value.items():
            page.check(f'input[name="{name}"][value="{place}"]')
    else:
        page.check(f'input[value="{value}"]')
    page.click("#next")


def pass_training(page) -> None:
    """Go on from the first screen, hear the worked examples and begin the test."""
    page.click("#start")
    hear_all(page, "#examples")
    page.click("#begin")


def accessibility_faults(page) -> list[str]:
    """The faults that axe-core calls serious or critical."""
    found = Axe().run(page).response["violations"]
    serious = [each for each in found if each["impact"] in SERIOUS]
    return [f"{each['help']}: {node['html']}" for each in serious for node in each["nodes"]]
