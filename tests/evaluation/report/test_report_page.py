"""The report in a real browser. Needs Debian's `chromium` and Python's `playwright`."""

import shutil

import pytest
from conftest import run_script
from omegaconf import OmegaConf

from evaluation.report.collect import Group, Run
from evaluation.report.page import write_report
from fastspeech2.training.metrics import LOSSES
from pipeline.files import write_csv

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def page_path(prepared, tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    paths = [f"paths.experiment={folder}/exp", f"paths.results={folder}/results"]
    overrides = [*prepared, *paths, "evaluation.clips_per_set=2"]
    for system in ("natural", "vocoded"):
        result = run_script("run", *overrides, f"name={system}", f"system={system}")
        assert result.returncode == 0, result.stderr
    assert run_script("stage7_tables", *overrides).returncode == 0
    return folder / "results" / "report.html"


@pytest.fixture(scope="module", params=["light", "dark"])
def page(request, page_path):
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium")
    assert chromium, "this test opens the report in Chromium: apt-get install chromium"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 390, "height": 844}, color_scheme=request.param)
        page.faults, page.requests = [], []
        page.on("console", lambda message: page.faults.append(message.text))
        page.on("pageerror", lambda error: page.faults.append(str(error)))
        page.on("request", lambda each: page.requests.append(each.url))
        page.goto(f"file://{page_path}")
        yield page
        browser.close()


def test_page_is_complete_and_logs_nothing_to_the_console(page):
    assert page.faults == []
    outside = [url for url in page.requests if not url.startswith(("file:", "data:"))]
    assert outside == []
    assert page.evaluate("[...document.images].every(i => i.complete && i.naturalWidth > 300)")


def test_every_player_loads_its_sound(page):
    page.wait_for_function(
        "[...document.querySelectorAll('audio')].every(a => a.readyState > 0 || a.error)",
        timeout=20_000,
    )
    players = page.evaluate(
        "[...document.querySelectorAll('audio')].map(a => [a.duration, a.error, a.ariaLabel])"
    )
    assert len(players) == 4
    for seconds, error, label in players:
        assert error is None and 0.5 < seconds < 20 and label


def test_page_fits_a_phone(page):
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def test_text_has_contrast_in_both_schemes(page):
    """Text and links against the page: at least 4.5 to 1, as WCAG demands."""
    script = """() => {
        const probe = document.createElement('div');
        probe.style.color = 'Canvas'; document.body.append(probe);
        const colour = (e) => getComputedStyle(e).color.match(/[\\d.]+/g).slice(0, 3).map(Number);
        return [document.body, document.querySelector('a'), probe].map(colour);
    }"""
    text, link, paper = page.evaluate(script)

    def luminance(colour: list[float]) -> float:
        linear = [(c / 255 + 0.055) / 1.055 for c in colour]
        return sum(w * c**2.4 for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    for colour in (text, link):
        bright, dim = sorted((luminance(colour) + 0.05, luminance(paper) + 0.05), reverse=True)
        assert bright / dim > 4.5


@pytest.fixture(scope="module")
def curves_path(tmp_path_factory):
    """A page with curves of two systems with two seeds each, one system 0.1 above the other."""
    folder = tmp_path_factory.mktemp("curves")
    groups = []
    for label, offset in (("Dense", 0.0), ("Decaying </script> 40 %", 0.1)):
        runs = []
        for seed in (0, 1):
            run = folder / f"{offset}-{seed}"
            losses = [{"update": u, "loss": 100 / u + offset + seed / 50} for u in (50, 100, 200)]
            rows = [
                {"update": row["update"]} | {f"validation_{name}": row["loss"] for name in LOSSES}
                for row in losses
            ]
            write_csv(run / "train" / "metrics.csv", list(rows[0]), rows)
            write_csv(run / "evaluation" / "utterances.csv", ["set", "id"], [])
            training = {"seed": seed, "versions": {}, "sparsity": {"kind": "dense"}}
            runs.append(Run(run, label, {"training": training, "definitions": {}}))
        groups.append(Group(label, runs))
    config = OmegaConf.create({"recipe": {"name": "test"}})
    write_report(groups, [], {}, config, folder / "report.html")
    return folder / "report.html"


def test_curves_are_zoomed_and_read_with_mouse_and_keyboard(page, curves_path):
    page.goto(f"file://{curves_path}")
    page.wait_for_selector("#plot polyline")
    assert page.locator("#plot polyline").count() == page.locator("#plot polygon").count() == 2
    assert page.inner_text("#readout") == (
        "Loss total: Dense 0.5100 (update 200); Decaying </script> 40 % 0.6100 (update 200)"
    )

    def ticks() -> list[str]:
        texts = page.locator("#plot text[text-anchor=middle]").all_text_contents()
        return [text for text in texts if text != "update"]

    everything = ticks()
    page.locator("#plot").focus()
    for _ in range(40):
        page.keyboard.press("ArrowLeft")
    assert "Dense 2.0100 (update 50)" in page.inner_text("#readout")
    page.keyboard.press("+")
    assert max(map(int, ticks())) < 150
    page.keyboard.press("Home")
    assert ticks() == everything
    page.locator("#plot").scroll_into_view_if_needed()
    box = page.locator("#plot").bounding_box()
    page.mouse.move(box["x"] + 0.6 * box["width"], box["y"] + 100)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.9 * box["width"], box["y"] + 100)
    page.mouse.up()
    assert min(map(int, ticks())) >= 110
    page.click("#all")
    assert ticks() == everything
    page.get_by_label("Dense").uncheck()
    assert page.locator("#plot polyline").count() == 1
    assert "Dense" not in page.inner_text("#readout")
    page.select_option("#part", "mel")
    assert page.inner_text("#readout").startswith("Loss mel: ")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.faults == []
