"""The decorator that counts and times the calls of a function."""

import asyncio
import inspect
import threading
import time

import pytest

import titrant


@titrant.profile
def encode(text: str, *, limit: int = 3) -> str:
    """Shorten a text."""
    return text[:limit]


def test_keeps_the_functions_face_and_counts_its_calls(capsys):
    before = titrant.call_times(encode).calls
    assert encode("abcdef") == "abc"
    assert (encode.__name__, encode.__doc__) == ("encode", "Shorten a text.")
    assert list(inspect.signature(encode).parameters) == ["text", "limit"]
    assert titrant.call_times(encode).calls == before + 1
    assert capsys.readouterr() == ("", "")


def test_tells_total_mean_and_worst():
    @titrant.profile(name="nap")
    def sleep(seconds):
        time.sleep(seconds)

    assert str(titrant.call_times(sleep)) == "nap: not called"
    sleep(0.001)
    sleep(0.02)
    seen = titrant.call_times(sleep)
    assert seen.calls == 2
    assert 0.02 <= seen.worst_seconds < seen.total_seconds
    assert seen.mean_seconds == seen.total_seconds / 2
    assert str(seen).startswith("nap: 2 calls, ")


def test_prints_each_call_where_it_is_asked_to(capsys):
    @titrant.profile(silent=False)
    def load():
        pass

    load()
    assert ".load: " in capsys.readouterr().err


def test_counts_a_call_that_raised():
    @titrant.profile
    def fail():
        raise KeyError

    with pytest.raises(KeyError):
        fail()
    seen = titrant.call_times(fail)
    assert (seen.calls, seen.failed) == (1, 1)
    assert ", 1 failed, " in str(seen)


def test_times_a_recursion_once():
    @titrant.profile
    def down(n):
        time.sleep(0.002)
        return down(n - 1) if n else 0

    down(3)
    seen = titrant.call_times(down)
    assert (seen.calls, seen.outermost) == (4, 1)
    assert seen.total_seconds == seen.worst_seconds


def test_times_an_async_function_with_what_it_waits_for():
    @titrant.profile
    async def fetch(n):
        await asyncio.sleep(0.01)
        return n

    async def both():
        return await asyncio.gather(fetch(1), fetch(2))

    assert inspect.iscoroutinefunction(fetch)
    assert asyncio.run(both()) == [1, 2]
    seen = titrant.call_times(fetch)
    assert (seen.calls, seen.outermost) == (2, 2)
    assert seen.mean_seconds >= 0.01


def test_times_a_method():
    class Model:
        @staticmethod
        @titrant.profile
        def load():
            return 1

        @titrant.profile
        def forward(self, x):
            return x + 1

    assert Model().forward(Model.load()) == 2
    assert titrant.call_times(Model.forward).calls == titrant.call_times(Model().load).calls == 1


def test_counts_calls_of_many_threads():
    @titrant.profile
    def tick():
        pass

    threads = [threading.Thread(target=lambda: [tick() for _ in range(200)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert titrant.call_times(tick).calls == 800


def numbers():
    yield 1


async def later():
    yield 1


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (numbers, "numbers is a generator: calling it does no work yet"),
        (later, "is a generator"),
        (dict, "takes a function or a method, not dict"),
        (3, "takes a function or a method, not int"),
        (classmethod(numbers), "write @classmethod above @titrant.profile"),
    ],
)
def test_refuses_what_a_call_of_would_not_time(function, message):
    with pytest.raises(TypeError, match=message):
        titrant.profile(function)


def test_says_that_a_function_is_not_decorated():
    with pytest.raises(TypeError, match="numbers is not decorated: write @titrant"):
        titrant.call_times(numbers)
