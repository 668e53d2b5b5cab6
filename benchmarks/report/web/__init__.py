"""The page `index.html` of a benchmark, one file that needs no network, and the leaderboard.

Charts are Vega-Lite specifications (`charts.py`), tables are HTML that DataTables sorts and
filters, and both read the numbers that stand in the page as JSON (`payload.py`). The libraries'
published bundles lie in `vendor` and are written into every page.
"""
