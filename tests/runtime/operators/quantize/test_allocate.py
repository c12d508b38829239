"""The allocation of the next mixture follows from damages, prices, and what those before it kept."""

from copy import deepcopy
from itertools import pairwise

import pytest

from titrant.runtime.api import apply
from titrant.schema.diagnostics.diagnostics import PreconditionError

REGIONS = ("stem", "block1", "block2", "block3", "block4", "head")
DAMAGES = (0.2, 0.1, 0.02, 0.004, 0.0008, 0.0001)
RETENTION = 0.99


def sensitivity(**changed):
    regions = [
        {"name": name, "layers": [f"{name}.conv1", f"{name}.conv2"], "kl": kl}
        for name, kl in zip(REGIONS, DAMAGES, strict=True)
    ]
    return {"regions": regions, "whole": 0.4, "rows": 256, **changed}


def prices(**changed):
    regions = [
        {"name": name, "layers": [f"{name}.conv1", f"{name}.conv2"], "fp32": 2e-4, "int8": 1e-4} for name in REGIONS
    ]
    edges = [{"from": one, "to": [other], "quantize": 1e-5, "dequantize": 1e-5} for one, other in pairwise(REGIONS)]
    figures = {"batch": 1, "rest": 0.0, "fp32": 1.2e-3, "int8": 6e-4, "mixes": [], "predicted": True, "refused": []}
    return {"regions": regions, "edges": edges, **figures, **changed}


def as_slow():
    return prices(regions=[{**region, "int8": 2e-4} for region in prices()["regions"]])


def quality(lost, gained=2, rows=5000):
    return {"pairs": {"both": int(rows * 0.9) - lost, "lost": lost, "gained": gained, "neither": int(rows * 0.1)}}


def allocate(tried=None, proposals=None, *, damage=None, price=None, **params):
    given = {"retention": RETENTION, "uniform": ["static"], **params}
    inputs = {"sensitivity": damage or sensitivity(), "prices": price or prices()}
    inputs |= {"tried": tried} if tried is not None else {}
    inputs |= {"proposals": proposals} if proposals is not None else {}
    return apply("quantize.allocate", inputs, given).outputs


def code(*given, **named):
    with pytest.raises(PreconditionError) as raised:
        allocate(*given, **named)
    return raised.value.diagnostics[0]


FAILED = {"static": quality(800)}


def test_leaves_the_layers_of_the_regions_that_do_too_much_damage_in_float():
    given = allocate(FAILED)
    proposal = given["proposal"]
    assert given["allocation"] == {"leave": [f"{name}.conv{n}" for name in proposal["leave"] for n in (1, 2)]}
    assert "stem" in proposal["leave"]
    assert {*proposal["leave"], *proposal["int8"]} == {*REGIONS}
    predicted = proposal["predicted"]
    assert predicted["speedup_over_fp32"] == pytest.approx(1.2e-3 / predicted["seconds"])
    assert predicted["speedup_over_int8"] == pytest.approx(6e-4 / predicted["seconds"])
    assert proposal["frontier"][0]["leave"] == []
    (uniform,) = proposal["tried"]
    assert (uniform["name"], uniform["kept"], uniform["leave"]) == ("static", False, [])
    assert uniform["lower"] < uniform["retention"] == pytest.approx((4500 - 800 + 2) / 4500)


def test_goes_on_to_a_faster_mixture_after_one_that_was_kept_and_to_a_gentler_one_after_one_that_failed():
    first = allocate(FAILED)["proposal"]
    after = {
        name: allocate({**FAILED, "mix1": quality(lost)}, {"mix1": first}, mix=2)["proposal"]["predicted"]
        for name, lost in (("kept", 3), ("failed", 300))
    }
    assert after["kept"]["seconds"] * 1.05 <= first["predicted"]["seconds"]
    assert after["failed"]["damage"] < first["predicted"]["damage"]


def test_keeps_a_mixture_by_the_bound_of_what_it_kept_and_not_by_what_was_seen():
    first = allocate(FAILED)["proposal"]
    few, many = (
        allocate({**FAILED, "mix1": quality(lost, rows=rows)}, {"mix1": first})["proposal"]["tried"][1]
        for rows, lost in ((500, 4), (5000, 40))
    )
    assert few["retention"] > RETENTION < many["retention"]
    assert (few["kept"], many["kept"]) == (False, False)
    sure = allocate({**FAILED, "mix1": quality(4)}, {"mix1": first})["proposal"]["tried"][1]
    assert sure["kept"]
    assert sure["lower"] >= RETENTION


def harming(spent):
    return quality(4) | {"groups": {"a": {"spent": 0.2}, "b": {"spent": spent}}}


def test_keeps_no_mixture_that_was_seen_to_harm_a_subgroup_and_goes_on_to_a_gentler_one():
    first = allocate(FAILED)["proposal"]
    harmful, harmless = (
        allocate({**FAILED, "mix1": harming(spent)}, {"mix1": first}, mix=2)["proposal"] for spent in (1.1, 0.5)
    )
    assert [each["tried"][1]["kept"] for each in (harmful, harmless)] == [False, True]
    assert harmful["tried"][1]["lower"] >= RETENTION
    assert harmful["predicted"]["damage"] < first["predicted"]["damage"]
    assert harmless["predicted"]["seconds"] < first["predicted"]["seconds"]


def test_leaves_the_more_in_float_the_more_the_worst_subgroup_lost():
    left = [allocate({"static": harming(spent)})["proposal"]["leave"] for spent in (1.5, 5, 100)]
    assert left == [["stem"], ["stem", "block1"], ["stem", "block1", "block2", "block3"]]


def test_does_not_propose_again_what_could_not_be_made():
    first = allocate(FAILED)["proposal"]
    second = allocate(FAILED, {"mix1": first}, mix=2)["proposal"]
    assert second["int8"] != first["int8"]
    refused = prices(refused=[first["int8"]])
    assert allocate(FAILED, price=refused)["proposal"]["int8"] != first["int8"]


def test_leaves_a_region_in_float_that_the_engine_does_not_compute_in_int8():
    damage = sensitivity()
    damage["regions"][5]["refused"] = "X211"
    proposal = allocate(FAILED, damage=damage)["proposal"]
    assert all("head" in mix["leave"] for mix in proposal["frontier"])


def test_chooses_among_what_was_timed_where_time_is_not_predicted():
    timed = [{"int8": ["block4", "head"], "seconds": 5e-5}, {"int8": [], "seconds": 9e-5}]
    whole = {"int8": list(REGIONS), "seconds": 4e-5}
    proposal = allocate(FAILED, price=prices(predicted=False, mixes=[*timed, whole], fp32=9e-5))["proposal"]
    assert proposal["int8"] == ["block4", "head"]
    assert proposal["predicted"]["speedup_over_fp32"] == pytest.approx(1.8)


def test_counts_the_uniform_candidate_that_is_likest_to_a_mixture():
    tried = {"static": quality(800), "static.equalized": quality(300)}
    proposal = allocate(tried, uniform=["static", "static.equalized"])["proposal"]
    assert [each["name"] for each in proposal["tried"]] == ["static.equalized"]
    alone = allocate({"static": quality(800)}, uniform=["static", "static.equalized"])["proposal"]
    assert [each["name"] for each in alone["tried"]] == ["static"]


@pytest.mark.parametrize(
    ("beaten", "why", "given"),
    [
        (
            "the fastest that was kept (2.0× all layers in float)",
            "; of 1 tried, 1 kept 0.99",
            {"tried": {"static": quality(0)}},
        ),
        (
            "all layers in float: ",
            "the fastest is predicted at 1.",
            {"tried": FAILED, "price": prices(regions=[{**r, "int8": 1.99e-4} for r in prices()["regions"]])},
        ),
    ],
)
def test_ends_the_search_where_nothing_is_left_that_is_worth_it(beaten, why, given):
    ended = allocate(**given)["allocation"]
    assert ended["leave"] is None
    assert ended["ended"].startswith(f"no mixture is left that is predicted 5 % faster than {beaten}")
    assert why in ended["ended"]


def test_refuses_to_choose_where_nothing_is_asked():
    assert code(FAILED, retention=None).code == "X258"


def test_ends_after_few_mixtures_that_all_fail():
    tried, proposals = dict(FAILED), {}

    def go_on():
        for place in range(1, 20):
            given = allocate(tried, proposals, mix=place)
            if given["allocation"]["leave"] is None:
                return
            proposals[f"mix{place}"] = given["proposal"]
            tried[f"mix{place}"] = quality(200)

    go_on()
    assert 1 <= len(proposals) <= 4


def test_refuses_figures_that_do_not_fit_together():
    other = deepcopy(sensitivity())
    other["regions"][0]["layers"] = ["stem.conv1"]
    assert code(FAILED, damage=other).code == "X262"
    assert code(FAILED, damage=sensitivity(regions=sensitivity()["regions"][1:])).code == "X262"
    assert code(FAILED, price=prices(rest=-1.0)).code == "X262"


def test_says_where_the_solver_has_no_answer(monkeypatch):
    class Silent:
        x = None

    monkeypatch.setattr("scipy.optimize.milp", lambda *given, **named: Silent())
    assert code(FAILED).code == "X259"
