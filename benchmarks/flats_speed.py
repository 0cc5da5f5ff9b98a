"""Claim: flats are drawn fast enough to be drawn while they are read.

python benchmarks/flats_speed.py      writes results/flats_speed.json
"""

import time

import numpy as np
from common import write_result

from tvhelpers import flats

COUNT, ROUNDS = 200, 5
rates = []
for seed in range(ROUNDS):
    specs = [flats.random_spec(seed, i) for i in range(COUNT)]
    began = time.process_time()
    for i, spec in enumerate(specs):
        flats.render(spec, seed, i)
    rates.append(COUNT / (time.process_time() - began))
write_result(
    "flats_speed",
    {"flats_per_second_on_one_core": np.median(rates), "rounds": rates, "flats_a_round": COUNT},
)
