"""The fault harness: people with a known truth, several workers, a nemesis that breaks what it can, and judges.

`python -m tests.faults --seed 1 --minutes 5` runs a campaign and says whether every input is accounted for and every
output came out exactly once. `lives` is the truth, `generator` writes it, `nemesis` does the damage, `judge` compares
what the readers found with the naive oracle (`tests/oracle`) and with the log folded again.
"""
