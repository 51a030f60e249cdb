"""Runs in the guest before its memory image is taken, so that no program pays for the first use of
a library, which loads modules, fills caches and finds fonts. Nothing of it stays in `__main__`."""

import io

import matplotlib.dates
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

days = pd.date_range("2025-01-01", periods=8)
prices = np.linspace(1.0, 2.0, 8)
frame = pd.DataFrame({"day": days, "symbol": ["A", "B"] * 4, "price": prices})
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
