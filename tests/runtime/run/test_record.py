"""What a run's record is made of."""

from dataclasses import replace

import numpy as np

from titrant.runtime.run.outcome import Outcome
from titrant.runtime.run.record import report_value
from titrant.runtime.run.walk import Walk
from titrant.runtime.store.artifacts import Store
from titrant.runtime.store.declarations import Declarations
from titrant.runtime.store.results import Results


def test_counts_the_best_epoch_of_a_real_training_from_1(toy, make_plan, torch_model, rows, apply):
    def separable(count, role):
        x = np.random.default_rng(count).normal(size=(count, 5)).astype(np.float32)
        return rows(x=x, role=role, labels=x[:, 0] > 0)

    inputs = {"train": separable(128, "train"), "tuning": separable(64, "tuning")}
    inputs["model"] = torch_model("Stack", 5, widths=[5, 16, 2])
    curves = apply("train.fit", inputs, {"learning_rate": 0.5, "epochs": 4, "early_stop": False}).outputs["curves"]
    best = int(np.argmin(curves["tuning_loss"])) + 1
    store = Store(toy.home)
    plan = replace(make_plan((1,)), searches=(), candidates=(), shipped={})
    results = Results(toy.home, store, toy.folder)
    declarations = Declarations(toy.home, toy.folder, None)
    walk = Walk(plan, results, declarations=declarations, performer=None, tell=None)
    walk.artifacts["load.curves"] = store.put("value", curves)
    value = report_value(walk, Outcome(), toy.planned(plan))
    assert value["values"]["curves"]["best_epoch"] == best
    assert value["values"]["curves"]["loss"] == curves["loss"]
