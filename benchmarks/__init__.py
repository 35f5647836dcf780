"""How fast and how large focal modulation is here, beside everything else that computes it.

``python -m benchmarks`` runs all topics; each topic is also a program, e.g. ``python -m benchmarks.op --quick``.
"""
