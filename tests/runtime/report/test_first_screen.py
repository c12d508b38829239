"""The first screen: every gate once, what did not pass first, who is harmed, and every model in one chart."""

import copy
import re

import pytest

from titrant.runtime.report.contract import symbol_of, tone_of
from titrant.runtime.report.page import html_text, page
from titrant.runtime.report.record_view import read_record


def with_groups(made, groups, worse, verdicts=("PASS", "FAIL")):
    """Add bias gates of subgroups, as the compiler makes them; the group `worse` lost half of its sensitivity."""
    made = copy.deepcopy(made)
    gates = made["plan"]["contract"]["gates"]
    judged = next(one["judgement"] for one in made["run"]["candidates"] if one["judgement"])
    for name, values in groups.items():
        slices = [(f"subgroup {name}.{one} / {name}.{two}", "ratio_at_least", worse == one)
                  for one in values for two in values if one != two]  # fmt: skip
        slices += [(f"subgroup {name}.{one}", "retention", worse == one) for one in values]
        for text, comparison, bad in slices:
            gate = {"id": f"bias.{text}", "preset": "bias", "metric": "sensitivity", "slice": text, "threshold": 0.85}
            gates.append(gates[0] | gate | {"comparison": comparison, "test": "score_ratio"})
            kept = 0.5 if bad else 1.0
            figures = {"estimate": kept, "lower": kept - 0.1, "upper": kept + 0.1, "cases": 120, "changed": 9}
            judged["results"].append(
                judged["results"][0] | figures | {
                    "gate": gate["id"], "verdict": verdicts[bad], "original": 0.9, "candidate": 0.9 * kept,
                }
            )  # fmt: skip
    return made


def many(records, verdicts=("PASS", "FAIL")):
    groups = {"age": ("40", "60", "75", "90"), "sex": ("f", "m"), "site": ("A", "B", "C")}
    return with_groups(records.failed(), groups, "90", verdicts)


def first_screen(record):
    return html_text(page(read_record(record))).partition('<div class="first')[2].partition("<nav")[0]


def test_shows_each_pair_of_subgroups_once_and_the_worse_way_round_first(records):
    rows = page(read_record(many(records))).stories[0].contract.rows
    pairs = [row for row in rows if row.turned]
    assert len(pairs) == 6 + 1 + 3
    assert sum(row.gates for row in rows) == len(many(records)["plan"]["contract"]["gates"]) == 33
    worse = [row.slice for row in pairs if row.verdict == "FAIL"]
    assert sorted(worse) == [f"subgroup age.90 / age.{value}" for value in ("40", "60", "75")]
    assert all(row.turned.verdict == "PASS" for row in pairs)


def test_puts_what_did_not_pass_first_and_folds_the_rest_without_a_script(records):
    screen = first_screen(many(records))
    unfolded, _, folded = screen.partition('<details class="more">')
    chips = re.findall(r'<td><span class="chip \w+">. (\w+)</span>', unfolded)
    assert chips == ["FAIL"] * 5
    assert re.findall(r'<td><span class="chip \w+">. (\w+)</span>', folded) == ["PASS"] * 18
    assert "18 more rows, which all pass" in folded


def test_orders_by_verdict_then_by_what_is_nearest_to_its_threshold(records):
    rows = page(read_record(many(records, ("INCONCLUSIVE", "FAIL")))).stories[0].contract.rows
    order = [row.verdict for row in rows]
    assert order == sorted(order, key=("FAIL", "INCONCLUSIVE", "PASS").index)
    left = [row.margin.left for row in rows if row.verdict == "FAIL"]
    assert left == sorted(left)


def test_takes_no_word_that_it_does_not_have_for_a_pass():
    assert (symbol_of("WAIVED"), tone_of("WAIVED")) == ("!", "warn")
    assert len({symbol_of(word) for word in ("PASS", "FAIL", "INCONCLUSIVE", "WAIVED")}) == 4


def test_says_whom_a_candidate_harms_and_what_became_of_all_cases_together(records):
    text = html_text(page(read_record(many(records))))
    verdict = text.partition('<section id="verdict"')[2].partition("</section>")[0]
    words = " ".join(re.sub(r"<[^>]+>", " ", verdict).split())
    assert "“ort-static” harms age 90: sensitivity 0.9000 → 0.4500 (120 cases)" in words
    assert "All cases together: accuracy 0.9708 → 0.8246." in words
    assert "age 40" not in words


def test_says_of_a_group_that_nothing_rules_harm_out(records):
    (harmed,) = page(read_record(many(records, ("PASS", "INCONCLUSIVE")))).harmed
    assert harmed.lead == "“ort-static” may harm"
    assert [harm.shown for harm in harmed.groups] == [False]


def test_names_nobody_where_no_group_became_worse(records):
    assert page(read_record(with_groups(records.failed(), {"sex": ("f", "m")}, ""))).harmed == ()
    assert "harms" not in html_text(page(read_record(records.released()))).partition("<script>")[0]


def test_names_no_group_that_became_better_though_its_gate_fails(records):
    """The original may miss a gate by itself: whom the candidate serves better is not harmed by it."""
    made = many(records)
    for candidate in made["run"]["candidates"]:
        for result in candidate["judgement"]["results"] if candidate["judgement"] else ():
            if "age.90" in result["gate"]:
                result |= {"original": 0.4, "candidate": 0.45}
    assert page(read_record(made)).harmed == ()


@pytest.mark.parametrize(
    ("metric", "own", "pair", "worse"),
    [
        ("dice", None, (0.9, 0.8), True),
        ("mae", None, (5.0, 6.0), True),
        ("mae", None, (6.0, 5.0), False),
        ("calibration_slope", None, (0.9, 1.2), True),
        ("calibration_slope", None, (0.7, 1.2), False),
        ("calibration_intercept", None, (0.1, -0.3), True),
        ("mine:cost", {"better": "lower", "low": 0.0, "high": 9.0, "unit": "case"}, (1.0, 2.0), True),
        ("mine:gain", {"better": "higher", "low": 0.0, "high": 9.0, "unit": "case"}, (1.0, 2.0), False),
    ],
)
def test_knows_which_way_each_metric_is_worse(records, metric, own, pair, worse):
    made = copy.deepcopy(records.failed())
    gate = made["plan"]["contract"]["gates"][0]
    gate |= {"metric": metric, "own": own, "slice": "class malignant"}
    for candidate in made["run"]["candidates"]:
        if candidate["judgement"]:
            candidate["judgement"]["results"][0] |= {"original": pair[0], "candidate": pair[1]}
    assert [harm.group for each in page(read_record(made)).harmed for harm in each.groups] == [
        "class malignant"
    ] * worse


def test_names_no_group_of_few_cases(records):
    made = many(records)
    for candidate in made["run"]["candidates"]:
        for result in candidate["judgement"]["results"] if candidate["judgement"] else ():
            if "age.90" in result["gate"]:
                result |= {"estimate": None, "lower": None, "upper": None, "original": None, "candidate": None}
                result |= {"cases": None, "changed": None, "method": "not shown"}
    assert page(read_record(made)).harmed == ()


def test_draws_every_measured_model_and_lists_the_others_with_the_reason(records):
    shown = page(read_record(records.released()))
    drawn = [row.name for row in shown.quality.rows if row.number]
    assert drawn == ["original", "onnx", "ort-dynamic", "ort-static"]
    assert [mark.name for mark in shown.quality.chart.marks] == drawn
    assert shown.quality.absent == (("rejected: the engine gave NaN on row batches", ("torch-dynamic",)),)
    text = html_text(shown)
    chart = text.partition('id="quality-figure"')[2].partition("</figure>")[0]
    assert chart.count('class="point ') == 4
    assert chart.count('class="ring"') == 1
    assert "asked: 0.9167" in chart  # 0.95 of the original's 55/57 on tuning rows


@pytest.mark.parametrize(
    ("comparison", "threshold", "less", "asked"),
    [
        ("retention", 0.9, False, 0.0216),
        ("drop_at_most", 0.01, False, 0.014),
        ("at_least", 0.2, False, 0.2),
        ("retention", 0.8, True, 0.03),
        ("rise_at_most", 0.01, True, 0.034),
        ("at_most", 0.05, True, 0.05),
    ],
)
def test_draws_what_is_asked_in_the_metric_s_own_terms(records, comparison, threshold, less, asked):
    made = copy.deepcopy(records.released())
    metric = "brier" if less else "auroc"
    gate = {"metric": metric, "comparison": comparison, "threshold": threshold, "preset": "gates"}
    made["plan"]["contract"]["gates"] = [made["plan"]["contract"]["gates"][0] | gate]
    for quality in made["values"]["quality"].values():
        quality["original"][metric] = quality["candidate"][metric] = 0.024
    chart = page(read_record(made)).quality.chart
    assert chart.asked == pytest.approx(asked)
    assert chart.less == less
    assert chart.up.startswith("Brier score" if less else "AUROC")


def test_says_in_the_label_s_own_unit_what_quality_is(records):
    made = copy.deepcopy(records.released())
    gate = {"metric": "mae", "comparison": "rise_at_most", "threshold": 0.5, "unit": "mmHg"}
    made["plan"]["contract"]["gates"] = [made["plan"]["contract"]["gates"][0] | gate]
    for place, quality in enumerate(made["values"]["quality"].values()):
        quality["original"]["mae"], quality["candidate"]["mae"] = 7.25, 7.25 + 0.1 * place
    shown = page(read_record(made)).quality
    assert [row.value for row in shown.rows if row.number][:3] == ["7.25 mmHg", "7.25 mmHg", "7.35 mmHg"]
    assert (shown.metric, shown.chart.less, shown.chart.asked) == ("MAE", True, 7.75)


def test_names_the_processor_and_the_fastest_unoptimized_file(records):
    made = copy.deepcopy(records.released())
    for step in made["plan"]["steps"]:
        if step["operator"] == "profile.latency":
            step["params"]["engines"] = {"original": "torch", "onnx": "onnxruntime", "ort-static": "onnxruntime"}
    gain = {"objective": "latency", "first": True, "against": "original", "title": "the original", "plain": False,
            "factor": 4.1, "verdict": "better", "lower": 3.9, "upper": 4.3}  # fmt: skip
    next(one for one in made["run"]["candidates"] if one["status"] == "released")["gains"] = [gain]
    assert page(read_record(made)).headline.sentence == (
        "Released “ort-static” (breast-cancer.onnx, 12.8 KiB, 0.31 of the original): the contract is kept; it is 4.1× "
        "faster than the original (3.9–4.3), on AMD EPYC 7B13; onnx is the fastest unoptimized file."
    )
