"""Makes tests/golden/blocks: two random blocks of every quantised GGML type that is read, and the weights that gguf-py's
own code says they hold.

    python -m scripts.golden.quantized_blocks --out tests/golden/blocks
"""

from __future__ import annotations

import argparse
from pathlib import Path

import gguf
import numpy as np

SEED = 20241129
#: Where a block's half-precision scales and minima lie, in bytes.
HALVES = {
    "Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0], "Q2_K": [80, 82], "Q3_K": [108],
    "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208], "IQ4_NL": [0], "IQ4_XS": [0],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(SEED)
    for name, places in HALVES.items():
        kind = gguf.GGMLQuantizationType[name]
        elements, size = gguf.GGML_QUANT_SIZES[kind]
        count = 512 // elements
        blocks = rng.integers(0, 256, (count, size), dtype=np.uint8)
        for place in places:
            blocks[:, place:place + 2] = rng.normal(0, 0.01, count).astype(np.float16).view(np.uint8).reshape(-1, 2)
        np.save(out / f"{name}.bytes.npy", blocks.reshape(-1))
        np.save(out / f"{name}.weights.npy", gguf.dequantize(blocks.reshape(-1), kind).astype(np.float32).reshape(-1))


if __name__ == "__main__":
    main()
