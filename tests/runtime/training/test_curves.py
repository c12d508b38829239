"""Each epoch's figures are told as it ends, to whoever follows a training."""

import math
from pathlib import Path
from types import SimpleNamespace

from titrant.runtime.training.task import Course
from titrant.runtime.training.watchers import CurveTeller
from titrant.runtime.worker.step_context import StepContext


def test_tells_the_epoch_that_has_just_ended_without_what_it_has_not():
    told = []
    course = Course(loss=[3.0, 2.0], tuning_loss=[3.5, 2.5])
    teller = CurveTeller(lambda place, figures: told.append((place, figures)))
    teller.after_epoch(SimpleNamespace(epoch=2, course=course))
    assert told == [(2, {"loss": 2.0, "tuning_loss": 2.5})]


def test_sends_a_point_to_the_journal_without_what_is_not_finite():
    sent = []
    StepContext(1, 1, Path(), sent.append).curve(3, {"loss": 1, "tuning_loss": math.nan, "other": math.inf})
    assert sent == [{"event": "curve", "place": 3, "figures": {"loss": 1.0}}]
