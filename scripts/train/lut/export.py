"""Packs trained arrays into models/lut/sparrow_video.safetensors.

    python export.py --folder DIR --out models/lut/sparrow_video.safetensors

DIR holds damage.npz, x<scale>.experts.npz, x<scale>.fusion.npz, and where made x<scale>.fitted.npz and x<scale>.two_stage.npz.
"""
import argparse
import json
import os
import struct

import numpy as np

import experts
import two_stage
from quantized import STEP

TYPES = {"float32": "F32", "int8": "I8", "uint8": "U8", "int32": "I32"}


def write(path, tensors, metadata):
    """The safetensors layout: length of the header, header, data."""
    header, data, offset = {"__metadata__": metadata}, [], 0
    for name, array in sorted(tensors.items()):
        raw = np.ascontiguousarray(array).tobytes()
        header[name] = {"dtype": TYPES[array.dtype.name], "shape": list(array.shape), "data_offsets": [offset, offset + len(raw)]}
        data.append(raw)
        offset += len(raw)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + b"".join(data))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--folder", required=True)
    parser.add_argument("--out", required=True)
    options = parser.parse_args()
    tensors = {}

    def take(file, prefix, keep=lambda name: True):
        path = f"{options.folder}/{file}.npz"
        if not os.path.exists(path):
            return False
        with np.load(path) as data:
            tensors.update({f"{prefix}.{name}": data[name] for name in data.files if keep(name)})
        return True
    for s in (2, 3, 4):
        assert take(f"x{s}.experts", f"x{s}.experts"), f"x{s}.experts.npz is missing"
        assert take(f"x{s}.fusion", f"x{s}"), f"x{s}.fusion.npz is missing"
        if not take(f"x{s}.fitted", f"x{s}.single"):
            take(f"x{s}.experts", f"x{s}.single")
            tensors[f"x{s}.single.divisor"] = np.int32(experts.DIVISOR)
        tensors[f"x{s}.single.divisor"] = tensors[f"x{s}.single.divisor"].reshape(1)
        take(f"x{s}.two_stage", f"x{s}.two_stage", lambda name: name != "divisor")
    assert take("damage", "damage"), "damage.npz is missing"
    write(options.out, tensors, {
        "format": "sparrow-video-1", "patterns": ",".join(experts.NAMES), "shift": str(experts.SHIFT), "divisor": str(experts.DIVISOR),
        "activation_step": str(int(STEP)), "two_stage_patterns": ",".join(two_stage.NAMES),
        "two_stage_shifts": ",".join(map(str, two_stage.SHIFTS)), "two_stage_divisors": ",".join(map(str, two_stage.DIVISORS)),
    })
    print(f"{options.out}: {os.path.getsize(options.out)} bytes, {len(tensors)} tensors")


if __name__ == "__main__":
    main()
