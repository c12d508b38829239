"""Tensors lie as their shape alone says: where memory begins, and odd strides, change the last bits of an answer."""

import numpy as np
import pytest
import torch  # noqa: TID253 - its very subject

from titrant.runtime.backends.torch.call import call
from titrant.runtime.backends.torch.determinism import lay_out, layout_name, standard, tensor_of


def places(array):
    """Give the same numbers at every place of a float32 within 64 bytes."""
    for place in range(16):
        memory = np.empty(array.size + 32, np.float32)
        first = (-memory.ctypes.data // 4) % 16 + place
        moved = memory[first : first + array.size].reshape(array.shape)
        moved[...] = array
        yield moved


@pytest.mark.parametrize(("features", "classes", "rows"), [(784, 10, 100), (140, 5, 1)])
def test_answers_alike_wherever_an_array_begins(features, classes, rows):
    array = np.random.default_rng(0).standard_normal((rows, features)).astype(np.float32)
    layer = torch.nn.Linear(features, classes)
    with torch.inference_mode():
        answers = {call(layer, {"input": moved}).numpy().tobytes() for moved in places(array)}
    assert len(answers) == 1


def test_learns_alike_whatever_the_strides_of_a_dimension_of_one_are():
    array = np.random.default_rng(0).standard_normal((64, 1, 140)).astype(np.float32)
    layer = torch.nn.Conv1d(1, 32, 7, padding=3)
    gradients = set()
    for given in (array, np.lib.stride_tricks.as_strided(array, array.shape, (560, 4, 4))):
        layer.zero_grad()
        layer(tensor_of(given, copy=True)).square().sum().backward()
        gradients.add(layer.weight.grad.numpy().tobytes())
    assert len(gradients) == 1


def test_shares_memory_that_lies_as_it_should_and_no_other():
    array = torch.zeros(4, 3).numpy()
    assert tensor_of(array).data_ptr() == array.ctypes.data
    assert tensor_of(array, copy=True).data_ptr() != array.ctypes.data
    array.flags.writeable = False
    assert tensor_of(array).data_ptr() != array.ctypes.data


@pytest.mark.parametrize("shape", [(), (0, 3), (3, 0), (1,), (2, 1, 3)])
def test_keeps_numbers_and_shape(shape):
    array = np.arange(int(np.prod(shape)), dtype=np.float32).reshape(shape)
    found = tensor_of(array)
    assert found.shape == shape
    np.testing.assert_array_equal(found.numpy(), array)
    assert found.stride() == torch.empty(shape).stride()


def test_moves_the_weights_of_a_module_and_keeps_them_tied():
    module = torch.nn.Module()
    module.one = torch.nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)
    module.two = torch.nn.Conv2d(3, 4, 3)
    module.two.weight = module.one.weight
    before = module.one.weight.detach().clone()
    lay_out(module)
    assert module.one.weight is module.two.weight
    assert module.one.weight.is_contiguous()
    assert torch.equal(module.one.weight, before)
    assert standard(module.one.weight) is module.one.weight


@pytest.mark.parametrize(
    "shape", [(8, 4, 3, 3), (8, 1, 3, 3), (8, 4, 1, 1), (1, 4, 1, 1), (1, 1, 1, 1), (4, 3, 2, 2, 2)]
)
def test_lays_a_weight_out_as_torch_does_and_once(shape):
    order = torch.channels_last if len(shape) == 4 else torch.channels_last_3d
    weight = torch.randn(shape)
    last = standard(weight, channels_last=True)
    assert last.stride() == torch.empty(shape, memory_format=order).stride()
    assert torch.equal(last, weight)
    assert standard(last, channels_last=True) is last
    assert layout_name(last) == "channels_last"
    assert standard(last).stride() == torch.empty(shape).stride()
