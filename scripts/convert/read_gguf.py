"""Reads GGUF files; needs only torch and numpy."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

#: struct formats of GGUF's scalar metadata types, by number; 8 is a string and 9 an array.
SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
F32, F16, Q8_0 = 0, 1, 8


class Gguf:
    """Metadata and dequantised tensors of a GGUF file (version 3; F32, F16 and Q8_0)."""

    def __init__(self, path: Path) -> None:
        self.data = path.read_bytes()
        self.at = 0
        magic, version, tensors, entries = self.take("<4sIQQ")
        if magic != b"GGUF" or version != 3:
            raise ValueError(f"{path}: magic {magic!r}, version {version}, expected GGUF 3")
        self.metadata = {self.text(): self.value(self.take("<I")[0]) for _ in range(entries)}
        self.tensors: dict[str, tuple[list[int], int, int]] = {}
        for _ in range(tensors):
            name, rank = self.text(), self.take("<I")[0]
            shape = list(self.take(f"<{rank}Q"))
            kind, offset = self.take("<IQ")
            self.tensors[name] = (shape, kind, offset)
        alignment = self.metadata.get("general.alignment", 32)
        self.start = (self.at + alignment - 1) // alignment * alignment

    def take(self, layout: str) -> tuple[Any, ...]:
        values = struct.unpack_from(layout, self.data, self.at)
        self.at += struct.calcsize(layout)
        return values

    def text(self) -> str:
        length = self.take("<Q")[0]
        self.at += length
        return self.data[self.at - length : self.at].decode()

    def value(self, kind: int) -> Any:
        if kind == 8:
            return self.text()
        if kind == 9:
            inner, count = self.take("<IQ")
            return [self.value(inner) for _ in range(count)]
        return self.take("<" + SCALARS[kind])[0]

    def tensor(self, name: str) -> Tensor:
        """In f32, `[rows, columns]`."""
        shape, kind, offset = self.tensors[name]
        count, at = int(np.prod(shape)), self.start + offset
        if kind == F32:
            values = np.frombuffer(self.data, np.float32, count, at).copy()
        elif kind == F16:
            values = np.frombuffer(self.data, np.float16, count, at).astype(np.float32)
        elif kind == Q8_0:
            block = np.dtype([("scale", np.float16), ("codes", np.int8, 32)])
            blocks = np.frombuffer(self.data, block, count // 32, at)
            values = (blocks["scale"].astype(np.float32)[:, None] * blocks["codes"]).reshape(-1)
        else:
            raise ValueError(f"tensor {name}: type {kind}, expected F32, F16 or Q8_0")
        return torch.from_numpy(values.reshape(shape[::-1]))
