"""What tests of several files use of gradients."""

LAYOUTS = {"whole": {}, "two devices": dict(devices=2), "micro-batches": dict(accumulate=2),
           "parallel": dict(devices=2, fc7_parallel=True), "sampled": dict(partial_fc=0.5),
           "both": dict(devices=2, fc7_parallel=True, partial_fc=0.5),
           "sampled on two": dict(devices=2, partial_fc=0.5)}
