"""Packs trained arrays into models/lut/sparrow_video.safetensors.

    python export.py --from FOLDER,first.npz,second.npz --out models/lut/sparrow_video.safetensors

FOLDER holds damage.npz and, for each scale, x<scale>.experts.npz; the rounds of `train_all.py` hold the rest. Where it has
x<scale>.levels.npz, those are the damaged levels' tables that stand alone; otherwise the experts are.
"""
import argparse
import json
import os
import struct

import numpy as np

import experts
import fit
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


BANKS = ("clean", "mixed", "calm")


def gather(sources):
    """{file stem: {array: values}} of folders of npz files and packed rounds; later ones win."""
    found = {}
    for source in sources:
        if os.path.isdir(source):
            for file in sorted(os.listdir(source)):
                with np.load(f"{source}/{file}") as data:
                    found[file.removesuffix(".npz")] = {n: data[n] for n in data.files}
            continue
        jobs = {}
        with np.load(source) as data:
            for key in data.files:
                job, name = key.split("|", 1)
                jobs.setdefault(job, {})[name] = data[key]
        found.update(jobs)
    return found


def parts(path):
    """What `gather` gives, of a file that this script wrote."""
    found, back = {}, {v: np.dtype(k) for k, v in TYPES.items()}
    with open(path, "rb") as file:
        data = file.read()
    start = 8 + struct.unpack("<Q", data[:8])[0]
    for name, entry in json.loads(data[8:start]).items():
        if name == "__metadata__":
            continue
        at = [start + o for o in entry["data_offsets"]]
        array = np.frombuffer(data[at[0] : at[1]], back[entry["dtype"]]).reshape(entry["shape"])
        job, rest = ("damage", name) if name[0] != "x" else (".".join(name.split(".")[:2]), name.split(".", 2)[2])
        found.setdefault(job, {})[rest] = array
    for s in (2, 3, 4):
        # Level 0 stands beside the others there; `take` puts it back.
        single = found[f"x{s}.single"]
        found[f"x{s}.levels"] = {n: single[n] for n in experts.NAMES}
        found[f"x{s}.single"] = {n: single[n][0] for n in experts.NAMES}
    return found


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--from", dest="sources", required=True)
    parser.add_argument("--base", help="a file written earlier: what the sources lack is taken from it")
    parser.add_argument("--out", required=True)
    options = parser.parse_args()
    found, tensors = gather(options.sources.split(",")), {}
    if options.base:
        found = {**parts(options.base), **found}

    def take(name, prefix):
        if name not in found:
            raise SystemExit(f"{name}: none of {options.sources} has it")
        tensors.update({f"{prefix}.{n}": v for n, v in found[name].items() if not n.startswith("latent.")})
    for s in (2, 3, 4):
        take(f"x{s}.experts", f"x{s}.experts")
        for bank in BANKS:
            take(f"x{s}.{bank}", f"x{s}.{bank}")
        # The tables that stand alone: level 0 refitted to clean stills.
        divisor, single = fit.DIVISOR, found[f"x{s}.single"]
        for n in experts.NAMES:
            coarse = np.round(found[f"x{s}.experts"][n].astype(float) * divisor / experts.DIVISOR).astype(np.int8)
            if f"x{s}.levels" in found:
                coarse = found[f"x{s}.levels"][n].copy()
            coarse[0] = single[n]
            tensors[f"x{s}.single.{n}"] = coarse
        tensors[f"x{s}.single.divisor"] = np.array([divisor], np.int32)
    for part, (patterns, tables) in two_stage.packed(found["x4.two_stage"]).items():
        tensors[f"x4.two_stage.{part}.offsets"], tensors[f"x4.two_stage.{part}.tables"] = patterns, tables
    tensors.update(found["damage"])
    write(options.out, tensors, {
        "format": "sparrow-video-4", "patterns": ",".join(experts.NAMES), "shift": str(experts.SHIFT), "divisor": str(experts.DIVISOR),
        "activation_step": str(int(STEP)),
        "two_stage_shifts": ",".join(map(str, two_stage.SHIFTS)), "two_stage_divisors": ",".join(map(str, two_stage.DIVISORS)),
    })
    print(f"{options.out}: {os.path.getsize(options.out)} bytes, {len(tensors)} tensors")


if __name__ == "__main__":
    main()
