"""Visits with a note's embedding and a few measurements, and a network that takes both."""

import numpy as np
import torch

from net import Net

draw = np.random.default_rng(0)
embedding, age, weight = draw.normal(size=(1500, 16)), draw.uniform(20, 90, 1500), draw.normal(75, 12, 1500)
score = embedding[:, 0] + embedding[:, 1] * embedding[:, 2] + (age - 55) / 20
rows = {
    "note": np.float32(embedding), "age": np.float32((age - 55) / 20), "weight": np.float32((weight - 75) / 12),
    "returned": (score + draw.normal(0, 0.3, 1500) > 0).astype(int),
}  # fmt: skip
torch.manual_seed(0)
net = Net()
optimizer = torch.optim.Adam(net.parameters(), 0.01)
note, labels = torch.tensor(rows["note"][:700]), torch.tensor(rows["returned"][:700])
visit = torch.tensor(np.stack([rows["age"], rows["weight"]], axis=1)[:700])
for _ in range(200):
    optimizer.zero_grad()
    torch.nn.functional.cross_entropy(net(note, visit), labels).backward()
    optimizer.step()
torch.save(net.state_dict(), "visits.pt")
np.savez("visits.npz", **{name: array[700:] for name, array in rows.items()})
