"""How fast this package is, and how it grows, as ratios that are measured side by side; see README.md.

python -m benchmarks            the whole table, against bare asyncio and against other frameworks
python -m benchmarks --quick    counts of tasks, objects and bytes only; less than a minute
"""
