"""What is said of a module that cannot answer a batch."""

import numpy as np
import pytest
import torch  # noqa: TID253 - its very subject

from titrant.runtime.backends.torch.call import call
from titrant.schema.diagnostics.diagnostics import StepError


class Reader(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.words = torch.nn.Embedding(96, 4)
        self.places = torch.nn.Embedding(8, 4)

    def forward(self, tokens):
        return self.words(tokens) + self.places(torch.arange(tokens.shape[1]))


def refused(tokens):
    with pytest.raises(StepError) as caught:
        call(Reader(), {"tokens": np.array(tokens)})
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.code == "X221"
    return diagnostic


@pytest.mark.parametrize("token", [96, 700, -1])
def test_names_the_size_of_a_table_of_tokens_and_the_token_only_where_data_may_be_shown(token):
    said = refused([[3, token], [0, 95]])
    assert (
        "layer words (Embedding, weight (96, 4)): it holds 96 tokens, 0 to 95, and the batch has others" in said.message
    )
    assert f"token {token}" in said.said
    assert f"{token} " not in said.message.replace("96 tokens", "")
    assert "tokenizer" in said.help


def test_says_nothing_of_tokens_where_a_row_is_longer_than_the_table_of_places():
    assert "tokens" not in refused([[0] * 9]).message
