"""Images with up to three findings each, and a network that gives a number for each finding."""

import numpy as np
import torch

from net import Net

draw = np.random.default_rng(0)
marks = draw.random((4000, 3)) < (0.3, 0.15, 0.5)
images = draw.normal(0, 0.3, (4000, 1, 12, 12))
for place, (row, column) in enumerate(((0, 0), (6, 6), (0, 6))):  # each finding has a corner
    images[:, 0, row : row + 6, column : column + 6] += 0.3 * marks[:, place, None, None]
images, labels = torch.tensor(images, dtype=torch.float32), torch.tensor(marks, dtype=torch.float32)
torch.manual_seed(0)
net = Net()
optimizer = torch.optim.Adam(net.parameters(), 0.005)
for rows in torch.randint(1500, (90, 64)):
    optimizer.zero_grad()
    torch.nn.functional.binary_cross_entropy_with_logits(net(images[rows]), labels[rows]).backward()
    optimizer.step()
torch.save(net.state_dict(), "findings.pt")
names = ("edema", "mass", "effusion")
columns = {name: marks[1500:, place].astype(int) for place, name in enumerate(names)}
np.savez("findings.npz", image=images[1500:].numpy(), **columns)
