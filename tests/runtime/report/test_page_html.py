"""The report's page: what it says, that it is sound HTML, and that nothing in it can do harm."""

import base64
import copy
import hashlib
import itertools
import json
import re
from functools import cache
from html.parser import HTMLParser

import pytest

from titrant.runtime.report.page import html_text, page, write_report
from titrant.runtime.report.record_view import read_record

EMPTY = {"meta", "link", "br", "hr", "img", "input", "col"}
HOSTILE = {
    "ort-static": "<script>alert(1)</script>",
    "malignant": '"><img src=x onerror=alert(1)>',
    "breast-cancer": "</style></title>{{ 7 * 7 }}<b>",
    "the lower bound": "</svg><iframe src='//evil'>",
    "level balanced": "a|b`c`\n# [x](javascript:alert(1)) $1 \\1",
}


class Balance(HTMLParser):
    """Collect tags and their attributes; `open` holds what was never closed, `wrong` what closed nothing."""

    def __init__(self):
        super().__init__()
        self.open, self.wrong, self.tags, self.attributes, self.ids = [], [], [], [], []

    def handle_starttag(self, tag, attrs):
        self.handle_startendtag(tag, attrs)
        if tag not in EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        self.ids += [value for name, value in attrs if name == "id"]

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)


@cache
def _rendered(text):
    return html_text(page(read_record(json.loads(text))))


def rendered(record):
    return _rendered(json.dumps(record))


def parsed(text):
    balance = Balance()
    balance.feed(text)
    balance.close()
    return balance


def words(text):
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", text))


def test_is_balanced_html_with_unique_ids(any_record):
    found = parsed(rendered(any_record))
    assert (found.open, found.wrong) == ([], [])
    assert len(found.ids) == len(set(found.ids))


def test_reaches_for_nothing_on_the_network(any_record):
    text = rendered(any_record)
    found = parsed(text)
    assert not {"link", "img", "iframe", "object", "embed"} & set(found.tags)
    (script,) = re.findall(r"<script[^>]*>(.*?)</script>", text, re.S)
    assert found.tags.count("script") == 1
    assert not re.search(r"fetch|XMLHttp|import\b|eval|innerHTML|src", script)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'" in text
    assert "http:" not in text
    assert "https:" not in text
    assert "@import" not in text
    targets = [value for name, value in found.attributes if name in ("href", "src", "xlink:href")]
    assert targets
    assert all(target.startswith("#") for target in targets)
    assert all(target.startswith("#") for target in re.findall(r"url\(([^)]*)\)", text))


def test_links_only_to_what_is_there(any_record):
    found = parsed(rendered(any_record))
    targets = {value[1:] for name, value in found.attributes if name == "href"}
    assert targets <= set(found.ids)


def test_gives_the_same_bytes_twice(any_record, tmp_path):
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        write_report(any_record, tmp_path / name)
    for name in ("report.html", "report.md", "report.json"):
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()


@pytest.mark.parametrize("ending", ["released", "inconclusive"])
def test_escapes_hostile_names(records, ending):
    harmless = parsed(rendered(getattr(records, ending)()))
    hostile = parsed(rendered(records.renamed(getattr(records, ending)(), HOSTILE)))
    assert (hostile.open, hostile.wrong) == ([], [])
    assert hostile.tags == harmless.tags
    assert not [name for name, _ in hostile.attributes if name.startswith("on")]


def test_shows_names_as_they_are(records):
    text = rendered(records.renamed(records.released(), {"malignant": "Bösartig & <1 cm", "ort-static": "良い"}))
    assert "Bösartig &amp; &lt;1 cm" in text
    assert "Released “良い” (breast-cancer.onnx, 12.8 KiB, 0.31 of the original): the contract is kept." in text


@pytest.mark.parametrize(
    ("ending", "said", "unsaid"),
    [
        ("released", ["PASS", "of the original): the contract is kept.", "Load it"], ["keep the original"]),
        ("not_proven", ["NOT PROVEN", "of the original), not proven.", "402 needed"], ["keep the original"]),
        ("failed", ["FAIL", "Not released: keep the original model.", "breaks 1 of 4 gates"], ["Load it"]),
        (
            "inconclusive",
            [
                "INCONCLUSIVE",
                "Not released: keep the original model.",
                "299 needed",
                "not assessable: the recipe names no subgroups",
            ],
            ["Load it"],
        ),
        ("unlabeled", ["PASS", "0.9950 (199/200)"], ["Training", "Changed decisions", "Operating point"]),
        (
            "nothing_made",
            ["FAIL", "No candidate reached the evaluation rows"],
            ["The contract", "Load it", "Speed over"],
        ),
    ],
)
def test_says_the_verdict_in_words(records, ending, said, unsaid):
    text = words(rendered(getattr(records, ending)()).partition("</style>")[2])
    assert [word for word in said if word not in text] == []
    assert [word for word in unsaid if word in text] == []


def test_says_the_verdict_before_anything_else(records):
    text = words(rendered(records.failed()).partition("<main>")[2])
    assert text.split()[:4] == ["✕", "FAIL", "Not", "released:"]


def test_lists_the_rejected_with_their_reason(records):
    text = words(rendered(records.released()).partition('id="candidates"')[2])
    assert "torch-dynamic torch.dynamic, torchscript in torch ✕ rejected the engine gave NaN on row batches" in text


def test_has_no_table_of_candidates_wider_than_eight_columns(records):
    """Ten columns took 1,304 pixels, and a page of 1,280 has 1,215: p95 and agreement stand below p50 and accuracy."""
    table = rendered(records.released()).partition('<table class="candidates sortable">')[2].partition("</table>")[0]
    rows = table.split("<tr")[1:]
    assert len(rows) > 1
    assert {len(re.findall(r"<t[hd][ >]", row)) for row in rows} == {8}
    assert [text in words(table) for text in ("p95", "agreement", "Throughput")] == [True] * 3


def test_claims_neither_safety_nor_compliance_and_writes_no_percentages(any_record):
    text = words(rendered(any_record).partition("</style>")[2])
    assert not re.search(r"\b(is safe|complian\w+|certified|overall score)\b", text, re.IGNORECASE)
    assert "%" not in text


def test_names_the_instruction_set_that_the_figures_hold_for(any_record):
    assert "These numbers hold only for this instruction set (x86_64: avx2, fma)." in rendered(any_record)


class Outline(HTMLParser):
    """The levels of the headings in their order, and every picture's attributes."""

    def __init__(self):
        super().__init__()
        self.levels, self.pictures = [], []

    def handle_starttag(self, tag, attrs):
        if re.fullmatch("h[1-6]", tag):
            self.levels.append(int(tag[1]))
        if tag == "svg":
            self.pictures.append(dict(attrs))


def test_is_read_in_order_by_a_screen_reader(any_record):
    text = rendered(any_record)
    outline = Outline()
    outline.feed(text)
    assert outline.levels[:2] == [1, 2]
    assert outline.levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(outline.levels))
    ids = set(parsed(text).ids)
    for picture in outline.pictures:
        named = picture.get("aria-label") or set(picture.get("aria-labelledby", "?").split()) <= ids
        assert picture.get("aria-hidden") == "true" or (picture["role"] == "img" and named), picture
    assert 'lang="en"' in text


def test_tells_every_verdict_without_color(any_record):
    chips = re.findall(r'<span class="(?:chip|state) [^"]*">(.*?)</span>', rendered(any_record))
    assert chips
    assert all(re.match(r"[✓✕?≈○–!]\ufe0e? \S", chip) for chip in chips), chips


def test_is_whole_without_its_script(any_record):
    """What the script adds are ways to sort and to find; it takes nothing away and holds no text of the record."""
    page = rendered(any_record)
    body, _, script = page.partition("<script>")
    assert "hidden" not in re.sub(r"aria-hidden|overflow: *hidden", "", body.partition("</style>")[2])
    assert any_record["plan"]["name"] not in script


def test_stays_small_with_many_gates_candidates_and_steps(records):
    made = copy.deepcopy(records.released())
    gates, candidates = made["plan"]["contract"]["gates"], made["plan"]["candidates"]
    judged = [one["judgement"] for one in made["run"]["candidates"] if one["judgement"]]
    for place in range(200):
        gates.append(gates[0] | {"id": f"more.{place}", "metric": f"metric_{place}"})
        for judgement in judged:
            judgement["results"].append(judgement["results"][0] | {"gate": f"more.{place}"})
    for place in range(60):
        candidates.append(candidates[0] | {"id": f"c{place}", "rank": 9 + place})
        made["run"]["candidates"].append(made["run"]["candidates"][1] | {"candidate": f"c{place}"})
        made["values"]["timings"][f"c{place}"] = made["values"]["timings"]["onnx"]
        made["values"]["quality"][f"c{place}"] = made["values"]["quality"]["onnx"]
        made["plan"]["searches"][0]["candidates"].append(f"c{place}")
    assert len(rendered(made).encode()) < 2_000_000


def test_sorts_figures_by_what_they_are_and_not_by_their_text(records):
    """12.8 KiB is less than 1 MiB: each figure of the candidates carries its share of the largest."""
    made = copy.deepcopy(records.released())
    next(one for one in made["run"]["candidates"] if one["candidate"] == "onnx")["size"] = 3 << 20
    table = rendered(made).partition('<table class="candidates sortable">')[2].partition("</table>")[0]
    sizes = {text: float(share) for share, text in re.findall(r'data-sort="([^"]+)">([\d.]+ [KM]iB)<', table)}
    assert sizes["3.0 MiB"] == 1
    assert sizes["12.8 KiB"] < sizes["15.5 KiB"] < 0.01
