"""Make the data: 4,000 patients, of whom one in twenty was seen at site B, whose device reports in another unit."""

import numpy as np
import pandas as pd

random = np.random.default_rng(0)
rows = 4000
at_b = random.random(rows) < 0.05
signal = random.normal(size=rows)
table = pd.DataFrame(
    {
        "first": np.where(at_b, 0.0, signal),
        "second": np.where(at_b, 0.0, signal + 0.3 * random.normal(size=rows)),
        "third": np.where(at_b, 0.0, 0.3 * random.normal(size=rows)),
        "device_b": np.where(at_b, 100 * signal, 0.0),
        "site": np.where(at_b, "B", "A"),
        "ill": np.where(signal + 0.2 * random.normal(size=rows) > 0, "yes", "no"),
    }
)
table.to_csv("patients.csv", index=False)
