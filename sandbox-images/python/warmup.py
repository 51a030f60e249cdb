"""The warm-up of the image: runs in the guest before its memory is stored.

The first use of each library loads modules, fills caches and finds fonts; after the warm-up no
program pays for that. None of its variables stay in `__main__`.
"""

import io

import matplotlib.dates
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

frame = pd.DataFrame(
    {
        "day": pd.date_range("2025-01-01", periods=8),
        "symbol": ["A", "B"] * 4,
        "price": np.linspace(1.0, 2.0, 8),
    }
)
text = frame.to_csv(index=False)
frame = pd.read_csv(io.StringIO(text), parse_dates=["day"])
repr(frame)
repr(frame.describe())
table = frame.pivot(index="day", columns="symbol", values="price").ffill()
repr(table.pct_change())
repr(frame.groupby("symbol")["price"].agg(["mean", "max"]))
repr(np.random.default_rng(0).normal(size=(3, 3)) @ np.eye(3))

figure, (lines, bars) = plt.subplots(1, 2)
lines.plot(frame["day"], frame["price"], label="price")
lines.legend()
lines.grid()
lines.set_title("Title 0123456789")
lines.set_xlabel("Date")
lines.tick_params(axis="x", rotation=45)
bars.bar(["a", "b"], [1, 2])
bars.hist([1, 2, 2, 3])
bars.scatter([1, 2], [3, 4], c=[0.1, 0.9])
figure.tight_layout()
figure.savefig(io.BytesIO(), format="png")
plt.close("all")
