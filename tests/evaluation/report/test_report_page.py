"""The report in a real browser. Needs Debian's `chromium` and Python's `playwright`."""

import shutil

import pytest
from conftest import composed, run_script
from table_cases import DECAYING, add_run, runs_in

from evaluation.report.collect import grouped
from evaluation.report.columns import best, loss_columns
from evaluation.report.compare import paired_tests
from evaluation.report.page import write_report
from evaluation.report.tables import Table

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


@pytest.fixture(scope="module")
def answer_path(tmp_path_factory):
    """A page of a dense and a decaying system with two seeds each, without audio."""
    folder = tmp_path_factory.mktemp("answer")
    for seed in (0, 1):
        add_run(folder, f"seed={seed},sparsity=dense", seed, {"kind": "dense"}, 0, 0.4, 0.5)
        name = f"seed={seed},sparsity.start=0.4,sparsity=decaying"
        add_run(folder, name, seed, DECAYING, 0.4, 0.4, 0.6 + seed / 50)
    groups = grouped(runs_in(folder))
    groups[1].label = "Decaying </script> 40 %"
    rows = [["System", "Seeds"], ["Dense", "2"]]
    tests = paired_tests(groups, loss_columns(best))
    tables = [Table(name, f"Table of {name}", rows, rows, tests) for name in ("losses", "cost")]
    config = composed("recipe.name=test")
    write_report(groups, tables, {}, config, folder / "report.html")
    return folder / "report.html"


@pytest.fixture(scope="module", params=["light", "dark"])
def browser_page(request):
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
        yield page
        browser.close()


@pytest.fixture
def page(browser_page, page_path):
    browser_page.set_viewport_size({"width": 390, "height": 844})
    browser_page.goto(f"file://{page_path}")
    return browser_page


@pytest.fixture
def answer_page(browser_page, answer_path):
    browser_page.set_viewport_size({"width": 390, "height": 844})
    browser_page.goto("about:blank")  # else a link's fragment would keep the page as it was
    browser_page.goto(f"file://{answer_path}")
    browser_page.wait_for_selector("#plot canvas")
    return browser_page


def assert_fits(page):
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def test_page_is_complete_and_logs_nothing_to_the_console(page):
    assert page.faults == []
    outside = [url for url in page.requests if not url.startswith(("file:", "data:", "about:"))]
    assert outside == []
    page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    assert page.evaluate("[...document.images].every(i => i.complete && i.naturalWidth > 50)")
    assert_fits(page)


def test_every_player_loads_its_sound_and_shows_its_mel(page):
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
    mels = page.locator("img[alt^='Mel spectrogram of ']")
    assert mels.count() == 4
    assert mels.first.is_visible() and not mels.last.is_visible()


def test_text_has_contrast_in_both_schemes(answer_page):
    """Text, links and notes against the page: at least 4.5 to 1, as WCAG demands."""
    script = """() => {
        const colour = (e, name) => getComputedStyle(e)[name].match(/[\\d.]+/g).slice(0, 3).map(Number);
        const texts = [document.body, document.querySelector('nav a'), document.querySelector('.quiet')];
        return [...texts.map((e) => colour(e, 'color')), colour(document.documentElement, 'backgroundColor')];
    }"""  # noqa: E501
    *texts, paper = answer_page.evaluate(script)

    def luminance(colour: list[float]) -> float:
        linear = [(c / 255 + 0.055) / 1.055 for c in colour]
        return sum(w * c**2.4 for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    for colour in texts:
        bright, dim = sorted((luminance(colour) + 0.05, luminance(paper) + 0.05), reverse=True)
        assert bright / dim > 4.5


def test_the_first_screen_answers_the_question(answer_page):
    answer_page.set_viewport_size({"width": 1366, "height": 850})
    assert answer_page.inner_text("h1").endswith("?")
    assert answer_page.inner_text(".answer p").startswith("Not shown: with 2 seeds, none of 4 ")
    for part in ("h1", ".answer", ".headline", "#plot", "#listen-title"):
        box = answer_page.locator(part).bounding_box()
        assert part == "#listen-title" or box["y"] + box["height"] < 850, part
    assert answer_page.locator(".headline tbody tr").count() == 2
    assert answer_page.locator(".headline td svg").count() >= 4
    assert answer_page.locator("details[open]").count() == 0


def test_the_table_of_systems_has_no_sideways_scrolling_on_a_phone(answer_page):
    assert_fits(answer_page)
    box = answer_page.locator(".headline").bounding_box()
    assert box["x"] >= 0 and box["x"] + box["width"] <= 390
    assert answer_page.evaluate(
        "getComputedStyle(document.querySelector('.headline td'), '::before').content"
    ).startswith('"Loss at 10 %')


def test_the_contents_open_sections_by_keyboard(answer_page):
    assert not answer_page.get_by_role("region", name="Table of cost", exact=True).is_visible()
    answer_page.get_by_role("link", name="Table of cost").focus()
    answer_page.keyboard.press("Enter")
    answer_page.wait_for_selector("#table-cost[open]")
    assert answer_page.get_by_role("region", name="Table of cost", exact=True).is_visible()
    focused = answer_page.evaluate("document.activeElement.textContent")
    assert focused == "Table of cost"
    answer_page.keyboard.press("Enter")
    assert answer_page.locator("details[open]").count() == 0


def test_everything_is_unfolded_in_print_alone(answer_page):
    answer_page.evaluate(
        "addEventListener('beforeprint', () => {"
        " window.printed = document.querySelectorAll('details[open]').length; })"
    )
    assert answer_page.pdf()[:4] == b"%PDF"
    every = answer_page.locator("details").count()
    assert answer_page.evaluate("window.printed") == every and every > 3
    assert answer_page.locator("details[open]").count() == 0


def test_curves_are_zoomed_and_read_with_mouse_and_keyboard(answer_page):
    page = answer_page
    assert page.inner_text("#readout") == (
        "Loss total: Dense 2.5000 (update 10); Decaying </script> 40 % 2.6100 (update 10)"
    )

    def view() -> tuple[int, int]:
        return page.evaluate("[plot.dataset.from, plot.dataset.to].map(Number)")

    def picture() -> str:
        return page.evaluate("plot.querySelector('canvas').toDataURL()")

    assert len(picture()) > 5000
    early = view()
    page.click("button[data-key=Home]")
    assert view() == [10, 100]
    page.locator("#plot").focus()
    for _ in range(42):
        page.keyboard.press("ArrowRight")
    assert "Dense 0.6000 (update 100)" in page.inner_text("#readout")
    page.keyboard.press("+")
    assert view()[0] >= 50
    page.keyboard.press("e")
    assert view() == early
    page.keyboard.press("Home")
    page.locator("#plot").scroll_into_view_if_needed()
    box = page.locator("#plot .u-over").bounding_box()
    page.mouse.move(box["x"] + 0.5 * box["width"], box["y"] + 100)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.9 * box["width"], box["y"] + 100)
    page.mouse.up()
    assert view()[0] >= 50 and view()[1] <= 95
    page.click("button[data-key=Home]")
    both = picture()
    page.get_by_label("Dense").uncheck()
    assert "Dense" not in page.inner_text("#readout")
    assert picture() != both
    page.select_option("#component", "mel")
    assert page.inner_text("#readout").startswith("Loss mel: ")
    assert_fits(page)
    assert page.faults == []
