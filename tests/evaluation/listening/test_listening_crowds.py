"""A listening test of everything for a crowd: three participants with ids, in a browser."""

import os

import pytest
from listening_cases import Listener, make_run, serving
from page_cases import accessibility_faults, answer, collected_in, hear_all, new_page

from evaluation.listening.analysis import analyse
from evaluation.listening.answers import Question, read_key
from evaluation.listening.build import build_test
from evaluation.listening.design import KINDS
from pipeline.errors import RecipeError

pytestmark = pytest.mark.slow

SYSTEMS = ["dense", "constant", "sniper"]
FORM = {
    "consent": "Your answers are stored without your name.\n<b>You may stop</b> at any time.",
    "questionnaire": [
        Question("device", "What do you hear with?", ["Headphones", "Loudspeakers"]),
        Question("remarks", "Is there anything to add?", optional=True),
    ],
}


def build(folder, kinds=KINDS, items: int = 2):
    runs = [make_run(folder / name, name, seed) for seed, name in enumerate(SYSTEMS)]
    natural = make_run(folder / "natural", "Natural recordings", 9)
    build_test(
        *(runs, items, 0, "", folder / "test", "PROLIFIC_PID"),
        kinds=kinds,
        reference=natural,
        **FORM,
    )
    return folder / "test"


def look(page, name: str) -> None:
    """Look for faults of accessibility; SCREENS=<folder> keeps a picture of each screen."""
    assert accessibility_faults(page) == [], name
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), name
    if folder := os.environ.get("SCREENS"):
        page.screenshot(path=f"{folder}/{name}.png", full_page=True)


def start(page, number: int) -> None:
    look(page, f"{number}-welcome")
    page.click("#start")
    assert "agree to it first" in page.inner_text("#welcome-status")
    assert page.inner_text("#consent-text") == FORM["consent"]  # text, not HTML
    page.check("#agree")
    page.check("#headphones")
    page.click("#start")
    assert page.locator("#examples h2").count() == 4
    page.click("#begin")
    assert "play every recording" in page.inner_text("#training-status")
    hear_all(page, "#examples")
    look(page, f"{number}-training")
    page.click("#begin")


def finish(page, number: int) -> None:
    look(page, f"{number}-questionnaire")
    page.click("#about button")
    assert page.is_visible("#questionnaire")  # a question has no answer
    page.select_option("select", "Headphones")
    page.fill("#questions input", "None.")
    page.reload()  # keeps what was written
    assert page.input_value("#questions input") == "None."
    page.click("#about button")
    page.wait_for_selector("#completion:not([hidden])")
    assert "Your completion code is C0DE" in page.inner_text("#completion")
    look(page, f"{number}-end")


def test_three_participants_one_of_whom_leaves_and_one_sends_twice(tmp_path, browser):
    folder = build(tmp_path)
    key = read_key(folder)
    with serving(folder, completion="C0DE") as (host, port):
        for number, participant, leaves in [(0, "p1", 0), (1, "p2", 5), (2, "p3", 0), (3, "p3", 0)]:
            scheme = "dark" if number % 2 else "light"
            page = new_page(browser, color_scheme=scheme)
            page.goto(f"http://{host}:{port}/?PROLIFIC_PID={participant}&STUDY_ID=7")
            assert f"plan={number}&" in page.url
            assert f"participant ID is {participant}." in page.inner_text("#participant")
            start(page, number)
            listener = Listener(number, "sniper", 1.0, ranking=SYSTEMS)
            seen = set()
            for trial in key.plans[number][: leaves or None]:
                if trial.kind not in seen:
                    seen.add(trial.kind)
                    look(page, f"{number}-{trial.kind}-before")
                answer(page, listener.answer(trial))
            if not leaves:
                finish(page, number)
            # Chromium logs the reply 409 to answers that are sent twice.
            assert [fault for fault in page.faults if "409" not in fault] == []
            page.context.close()
        accepted, refused = collected_in(folder, key)
    assert [each["participant"] for each in accepted] == ["p1", "p3"] and not refused
    assert accepted[1]["plan"] == 2 and accepted[0]["consent"] is True
    assert accepted[0]["questionnaire"] == {"device": "Headphones", "remarks": "None."}
    analysis = analyse(accepted, 0, key)
    assert analysis.listeners == 2 and analysis.post_screened == 0
    means = {system: each["mean"] for system, each in analysis.mushra.items()}
    assert sorted(means, key=means.get) == [
        *("low anchor", "dense", "constant", "sniper", "middle anchor", "reference")
    ]
    assert analysis.mushra["reference"]["mean"] == 100


def test_an_answer_of_best_and_worst_needs_two_recordings(tmp_path, browser):
    folder = build(tmp_path, ["best_worst"])
    with serving(folder) as (host, port):
        page = new_page(browser)
        page.goto(f"http://{host}:{port}/?plan=0")
        page.check("#agree")
        page.click("#start")
        assert page.locator("#examples h2").count() == 2
        hear_all(page, "#examples")
        page.click("#begin")
        hear_all(page)
        for name in ("best", "worst"):
            page.click("#next", force=True)
            assert "choose an answer" in page.inner_text("#status")
            page.check(f'input[name="{name}"][value="1"]')
        page.click("#next", force=True)
        assert "cannot be the same" in page.inner_text("#status")
        page.check('input[name="worst"][value="2"]')
        page.click("#next")
        assert page.inner_text("#question").startswith("2 of") and page.faults == []


def test_errors_say_what_a_kind_of_trial_needs(tmp_path):
    runs = [make_run(tmp_path / name, name, seed) for seed, name in enumerate(SYSTEMS[:2])]
    with pytest.raises(RecipeError, match="best_worst needs at least three runs"):
        build_test(runs, 2, 0, "", tmp_path / "test", kinds=["best_worst"])
    with pytest.raises(RecipeError, match="mushra needs natural recordings"):
        build_test(runs, 2, 0, "", tmp_path / "test", kinds=["mushra"])
