# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""Files of figures that several proofs write to: each adds its own, and leaves the others' alone.

results.py FOLDER NAME KEY=NUMBER... does it for programs."""

import json
import os
import sys


def merge(folder, name, figures, reserve=()):
    """Puts figures into FOLDER/NAME.json, in the place of those of the same keys; null for keys of
    reserve that nobody has written yet."""
    path = f"{folder}/{name}.json"
    os.makedirs(folder, exist_ok=True)
    together = dict.fromkeys(reserve)
    if os.path.exists(path):
        with open(path, encoding="utf-8") as f:
            together.update(json.load(f))
    together.update(figures)
    with open(f"{path}.new", "w", encoding="utf-8") as f:
        json.dump(together, f, indent=2)
        f.write("\n")
    os.replace(f"{path}.new", path)


if __name__ == "__main__":
    merge(*sys.argv[1:3], {key: json.loads(value) for key, value in (a.split("=") for a in sys.argv[3:])})
