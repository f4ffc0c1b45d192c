"""The pages: whatever data says is text in them, they load nothing, and everybody can read them."""

import base64
import hashlib
import re
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest

from loragrid.data.formats.base import Example
from loragrid.data.records import Dialogue
from loragrid.pages.render import HERE
from loragrid.reporting.inspect import Inspected, Inspection, Row, Token
from loragrid.reporting.inspect_show import as_page
from loragrid.reporting.tabulate import tabulate

FOLDER = Path("results/studies/demo")

HOSTILE = """x"><img src=x onerror=alert(1)></td></table></title></style></script><script>alert(2)</script>
' onmouseover='alert(3)' {{ 7 * 7 }} {% raw %} <!-- <svg/onload=alert(4)> javascript:alert(5) &lt;b&gt;
<iframe src="//x">"""

TAGS = {
    "html", "head", "meta", "title", "style", "script", "body", "main", "section", "h1", "h2", "h3", "p", "a", "b",
    "br", "span", "div", "table", "caption", "thead", "tbody", "tr", "th", "td", "button",
}  # fmt: skip
ATTRIBUTES = {
    "lang", "charset", "http-equiv", "content", "name", "href", "class", "role", "aria-label", "tabindex", "scope",
    "colspan", "data-sort", "type", "title",
}  # fmt: skip
VOID = {"meta", "br", "img", "link", "input"}


class Page(HTMLParser):
    """The elements of a page in order, each with its attributes and the text before the next; checks that they nest."""

    def __init__(self, html):
        super().__init__()
        self.elements, self.open = [], []
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.elements.append([tag, dict(attributes), ""])
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_comment(self, data):
        raise AssertionError(data)

    def handle_data(self, data):
        if self.elements:
            self.elements[-1][2] += data

    def all(self, tag):
        return [(attributes, text) for name, attributes, text in self.elements if name == tag]

    @property
    def text(self):
        return "".join(text for _, _, text in self.elements)


def hostile_tree(tree):
    """A study in which everything that can be any text is as bad as can be."""
    tree.grid.title = tree.grid.description = HOSTILE
    tree.score(tree.untrained(), answer=HOSTILE)
    for label in (HOSTILE, "two"):
        answers = tree.run(label=label, seed=len(tree.grid.runs))
        tree.train(answers)
        tree.score(answers, 40, answer=HOSTILE)
    failed = tree.run(label=HOSTILE + "3")
    tree.write(f"{failed.subject}/work/failed.json", {"reason": HOSTILE, "log": HOSTILE, "stage": "train"})
    tree.write_lines(
        tree.grid.prompts["test-1"].file,
        [{"id": f"{HOSTILE}d0#0", "reference": HOSTILE, "messages": [{"role": HOSTILE, "content": HOSTILE}]}],
    )
    tree.grid.published = [
        {"metric": HOSTILE, "model": "tiny", "dataset": None, "subject": "tuned", "where": {}, "source": HOSTILE,
         "value": 1}
    ]  # fmt: skip
    return tree


def inspected():
    record = Dialogue(HOSTILE, [{"role": "user", "content": HOSTILE}], {HOSTILE: HOSTILE})
    tokens = [Token(HOSTILE, True), Token("<b>", False)]
    rows = [
        Row(Example(HOSTILE, HOSTILE, record.messages), tokens, tokens, HOSTILE),
        Row(Example(HOSTILE, HOSTILE, record.messages)),
    ]
    shown = Inspected(HOSTILE, HOSTILE, record, HOSTILE, [HOSTILE], rows)
    return as_page(Inspection(HOSTILE, HOSTILE, True, HOSTILE, 1, [shown]))


@pytest.fixture
def pages(tree):
    """A hostile study's pages by name."""
    tabulate(hostile_tree(tree).grid)
    return {
        "comparison": (FOLDER / "comparison.html").read_text(),
        "examples": (FOLDER / "examples/tiny.ed.html").read_text(),
        "inspect": inspected(),
    }


@pytest.mark.parametrize("name", ["comparison", "examples", "inspect"])
def test_no_element_and_no_attribute_comes_from_data(pages, name):
    page = Page(pages[name])
    assert {tag for tag, _, _ in page.elements} <= TAGS
    for tag, attributes, text in page.elements:
        assert attributes.keys() <= ATTRIBUTES, tag
        # Only the value that a column is sorted by is what data says.
        assert all("alert" not in value for key, value in attributes.items() if key != "data-sort"), attributes
        assert tag not in ("script", "style") or "alert" not in text
    assert len(page.all("script")) == (name == "comparison")
    assert HOSTILE in page.text
    assert "49" not in {word for _, _, text in page.elements for word in text.split()}


def test_only_the_style_sheet_and_scripts_are_not_escaped():
    texts = {file.name: file.read_text() for file in (HERE / "templates").iterdir()}
    unescaped = {(name, found) for name, text in texts.items() for found in re.findall(r"\w+ *\| *safe", text)}
    assert unescaped == {("base.html.jinja", "style | safe"), ("base.html.jinja", "script | safe")}
    assert not any("autoescape" in text for text in texts.values())


@pytest.mark.parametrize("name", ["comparison", "examples", "inspect"])
def test_the_policy_allows_the_style_and_script_of_the_page_and_nothing_else(pages, name):
    page = Page(pages[name])
    (policy,) = [each["content"] for each, _ in page.all("meta") if each.get("http-equiv")]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    for tag in ("style", "script"):
        texts = [re.search(rf"<{tag}>(.*?)</{tag}>", pages[name], re.S)[1] for _ in page.all(tag)]
        hashes = [f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" for text in texts]
        assert rules[f"{tag}-src"] == (" ".join(hashes) or "'none'")


@pytest.mark.parametrize("name", ["comparison", "examples", "inspect"])
def test_a_page_has_a_language_one_title_and_headings_in_order(pages, name):
    page = Page(pages[name])
    assert page.all("html")[0][0] == {"lang": "en"}
    levels = [int(tag[1]) for tag, _, _ in page.elements if re.fullmatch(r"h\d", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    assert all(attributes.get("scope") for attributes, _ in page.all("th"))


def test_the_names_of_runs_come_first_and_headings_say_which_way_is_better(demo):
    tabulate(demo.grid)
    page = Page((FOLDER / "comparison.html").read_text())
    names = [text for attributes, text in page.all("th") if attributes.get("scope") == "row"]
    assert [name[:4] for name in names] == ["untr", "r8-a", "r16-", "r32-", "r64-"]
    headings = [text for _, text in page.all("button")]
    assert headings[0] == "run"
    assert "label" not in headings  # nobody has one
    groups = [(text, int(each["colspan"])) for each, text in page.all("th") if each["scope"] == "colgroup"]
    assert sum(span for _, span in groups) == len(headings)
    assert [title.strip() for title, _ in groups] == [
        "subject", "recipe", "training", "scores", "gain", "cut or left out", "state",
    ]  # fmt: skip
    arrows = [text.strip() for each, text in page.all("span") if each.get("title") == "lower is better"]
    assert set(arrows) == {"↓"}


def test_cells_are_short_and_sort_by_all_their_digits(demo):
    tabulate(demo.grid)
    page = Page((FOLDER / "comparison.html").read_text())
    cells = [(attributes, text) for attributes, text in page.all("td") if attributes.get("class") == "number"]
    sorts = {text: attributes["data-sort"] for attributes, text in cells}
    assert sorts["41k"] == "40960"
    assert any(len(attributes["data-sort"]) > len(text) for attributes, text in cells)
