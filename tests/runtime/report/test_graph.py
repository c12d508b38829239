"""The picture of the steps."""

from titrant.runtime.report.page.graph import lay_out, producers


def test_puts_every_step_below_what_it_reads_from(records):
    from report_plans import whole_plan

    plan = whole_plan()
    graph = lay_out(plan)
    rows = {box.step.id: box.row for box in graph.boxes}
    assert set(rows) == {step.id for step in plan.steps}
    for step in plan.steps:
        assert all(rows[source] < rows[step.id] for source in producers(step)), step.id


def test_never_puts_two_boxes_in_one_place(records):
    from report_plans import whole_plan

    places = [(box.row, box.lane, box.place) for box in lay_out(whole_plan()).boxes]
    assert len(places) == len(set(places))


def test_leaves_out_edges_that_a_longer_way_implies(records):
    from report_plans import whole_plan

    edges = lay_out(whole_plan(("ort-static",))).edges
    assert ("ort-static.export", "ort-static") in edges
    assert ("transform", "fit") in edges
    assert ("data", "transform") not in edges
    assert ("transform", "ort-static.tuning") not in edges
