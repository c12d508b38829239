"""Networks of blocks, some of which an identity can stand for."""

import torch  # noqa: TID253 - the file defines torch modules
from torch import nn  # noqa: TID253

WIDTH = 6
# How a block is made and called → whether an identity can stand for it.
KINDS = {
    "plain": True,
    "tuple": True,  # answers with (tensor,)
    "with_none": True,  # answers with (tensor, None)
    "by_name": True,  # is given its tensor by name, behind another
    "beside": True,  # is given a mask beside
    "with_tensor": False,  # answers with a tensor of its own besides
    "twice": False,  # is called twice
    "wider": False,  # gives another shape
    "halved": False,  # gives another dtype
    "lone": False,  # is the only one of its class
    "looked_into": True,  # the forward reads a part of it: refused when it is tried
}


class Block(nn.Module):
    """Two layers and a shortcut: (batch, WIDTH) → the same, in the form that `kind` says."""

    def __init__(self, kind, strength):
        super().__init__()
        self.kind, self.strength = kind, strength
        self.first, self.second = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)

    def forward(self, x, mask=None):
        y = x + self.strength * self.second(torch.relu(self.first(x)))
        if self.kind == "wider":
            return torch.cat([y, y], 1)
        if self.kind == "halved":
            return y.to(torch.float64)
        return {"tuple": (y,), "with_none": (y, None), "with_tensor": (y, y.mean())}.get(self.kind, y)


class Lone(Block):
    """A class of one."""


class Mixed(nn.Module):
    """Blocks of some kinds in a row: (batch, 5) → logits (batch, 3)."""

    def __init__(self, kinds, strengths=None):
        super().__init__()
        strengths = strengths or [0.5] * len(kinds)
        made = [(Lone if kind == "lone" else Block)(kind, power) for kind, power in zip(kinds, strengths, strict=True)]
        self.kinds = kinds
        self.stem, self.blocks, self.head = nn.Linear(5, WIDTH), nn.ModuleList(made), nn.Linear(WIDTH, 3)

    def forward(self, x):
        x = self.stem(x)
        for kind, block in zip(self.kinds, self.blocks, strict=True):
            x = self._called(block, kind, x)
        return self.head(x)

    def _called(self, block, kind, x):
        if kind == "looked_into":
            return block(x) + 0 * block.first.weight.sum()
        made = block(mask=None, x=x) if self._by_name(block) else block(x, x > 0) if kind == "beside" else block(x)
        made = block(made) if kind == "twice" else made
        made = made[0] if isinstance(made, tuple) else made
        return made[:, :WIDTH].float()

    def _by_name(self, block):
        return getattr(block, "kind", "") == "by_name" or getattr(block, "by", "") == "x"


class Stages(nn.Module):
    """Stages that each hold blocks and keep the shape too: (batch, 5) → logits (batch, 3)."""

    def __init__(self, stages=2, each=2):
        super().__init__()
        self.stem, self.head = nn.Linear(5, WIDTH), nn.Linear(WIDTH, 3)
        self.stages = nn.Sequential(
            *(nn.Sequential(*(Block("plain", 0.5) for _ in range(each))) for _ in range(stages))
        )

    def forward(self, x):
        return self.head(self.stages(self.stem(x)))
