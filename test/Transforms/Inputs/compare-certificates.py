"""compare-certificates.py BEFORE AFTER FACTOR

Fails where the certified error of a layer in AFTER is more than FACTOR times
that in BEFORE, or where the two do not certify the same layers.
"""
import re
import sys


def read(path):
    errors = {}
    for line in open(path):
        match = re.search(r"miura\.approximate .* of @(\S+) .*<error = (\S+) : f64", line)
        if match:
            errors[match[1]] = float(match[2])
    return errors


before, after = read(sys.argv[1]), read(sys.argv[2])
factor = float(sys.argv[3])
if not before or before.keys() != after.keys():
    sys.exit(f"{len(before)} and {len(after)} layers, or others")
ratios = {name: after[name] / before[name] for name in before}
worst = max(ratios, key=ratios.get)
print(f"{len(ratios)} layers, worst {worst}: {before[worst]:.4g} -> {after[worst]:.4g}, ratio {ratios[worst]:.4f}")
if ratios[worst] > factor:
    sys.exit(f"more than {factor} times")
