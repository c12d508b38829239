"""Loading a release says where it was judged on a processor that computes otherwise."""

import warnings
from types import SimpleNamespace

import pytest

import titrant
from titrant.api.load import other_instructions
from titrant.compiler.machine import processor
from titrant.runtime.serve import released

HERE = ("avx2", "avx512_vnni", "fma")


@pytest.fixture
def load(monkeypatch, tmp_path):
    """Load a release whose record names other instruction sets, on a processor of these."""

    def loaded(judged):
        monkeypatch.setattr(processor, "processor", lambda system: ("a processor", HERE))
        model = SimpleNamespace(name="tumor", judged_instructions=tuple(judged))
        monkeypatch.setattr(released, "load", lambda folder, **given: model)
        return titrant.load(tmp_path)

    return loaded


def test_warns_once_of_instructions_that_the_processor_of_the_judgement_had(load):
    with pytest.warns(UserWarning, match="was judged on") as caught:
        assert load(("avx2", "avx512_vnni", "amx_int8", "fma")).name == "tumor"
    (warning,) = caught
    assert str(warning.message) == (
        "tumor was judged on a processor with amx_int8, which this one lacks: kernels are chosen by them, and int8 "
        "rounds and saturates otherwise without VNNI, so neither its answers nor its speed here are those that were "
        "judged; judge it on this machine: titrant validate recipe RUN RECIPE"
    )
    assert warning.filename == __file__


@pytest.mark.parametrize("judged", [HERE, (*HERE, "ORT_DISABLE_AVX512=1"), ()])
def test_says_nothing_where_they_are_the_same_or_not_known(load, judged):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load(judged)


@pytest.mark.parametrize(
    ("judged", "here", "words"),
    [
        (("avx2",), ("avx2", "avx512_vnni"), "a processor without avx512_vnni, which this one has"),
        (("avx2", "fma"), ("avx2",), "a processor with fma, which this one lacks"),
        (
            ("avx2", "avx_vnni"),
            ("neon",),
            "a processor with avx2, avx_vnni, which this one lacks, and without neon, which this one has",
        ),
        (("avx2",), (), ""),
    ],
)
def test_names_what_differs(judged, here, words):
    assert other_instructions(judged, here) == words
