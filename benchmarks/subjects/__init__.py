"""What is measured: one file per framework, all with the same functions. See `worker.py` for who calls them.

None of these files may import anything of `benchmarks`: most of them run in the environment of another framework.
"""
