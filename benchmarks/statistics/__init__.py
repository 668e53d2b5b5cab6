"""Comparison of methods on any case table: one rule over training runs and patients.

`pairs` reads a table into arrays, `inference` holds the rule in numbers, `rule` applies it to
declared comparisons; ranks, summaries, the verdict, power and the simulation all call these.
"""
