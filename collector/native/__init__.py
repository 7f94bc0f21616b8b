"""The one door to the C extension: nothing outside this package imports collector._native.

There is no fallback in Python. A collector without its extension says so and ends.
"""
