"""Checks that llama.cpp loads the golden decoders under tests/golden/models and continues the prompt as transformers does: an
independent reading of the files themselves, of their names, permutations and RoPE scaling. Needs `gguf` and `xllamacpp`.

Files that are not f32 are given to llama.cpp dequantised, as in `scripts.golden.greedy`. Its tokens equal those of
prompt.json, all 24 of every model (xllamacpp 2026.10.11549).

    python -m scripts.golden.check_llama_cpp --models tests/golden/models
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

from scripts.golden.greedy import complete, dequantise


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, required=True)
    models = parser.parse_args().models
    golden = json.loads((models / "prompt.json").read_text())
    folder = tempfile.TemporaryDirectory()
    wrong = []
    for name, expected in golden["greedy"].items():
        path = models / f"{name}.gguf"
        if not name.endswith("_f32"):
            path = Path(folder.name) / f"{name}.gguf"
            dequantise(models / f"{name}.gguf", path)
        prompt = golden["long_prompt" if name in golden["long"] else "prompt"]
        answer = complete(path, prompt, len(expected), 256, return_tokens=True, verbose=True)
        found = answer["__verbose"]["tokens"]
        print(f"{name}: {'the same tokens' if found == expected else f'{found}, expected {expected}'}")
        if found != expected:
            wrong.append(name)
    if wrong:
        raise SystemExit(f"llama.cpp differs in {', '.join(wrong)}")


if __name__ == "__main__":
    main()
