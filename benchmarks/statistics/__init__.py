"""Paired comparison of methods on any `cases.csv`; the patient is the unit, runs come second."""
