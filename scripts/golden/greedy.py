"""Writes what llama.cpp makes of the embedded long-context model: greedy continuations of three prompts, 200 tokens
each, for the engine to be compared with. Needs the packages `gguf` and `xllamacpp`, which carries llama.cpp.

llama.cpp is given the same file with its matrices dequantised: with Q8_0 ones it rounds activations to 8 bits on the
CPU, and near ties then fall either way.

    python -m scripts.golden.greedy --model models/sparrow-tiny.gguf --out tests/golden/text/sparrow_tiny_greedy.json
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from random import Random
from uuid import UUID

import gguf
import xllamacpp

def _look_up(keys: str, rng: Random) -> str:
    """A chat that states an identifier for each key and asks for all of them, the last key first."""
    facts = "\n".join(f"The identifier of {key} is {UUID(int=rng.getrandbits(128))}." for key in keys.split())
    first, *others = keys.split()
    asked = f"{', '.join(reversed(others))} and {first}"
    return f"<|im_start|>user\n{facts}\n\nWhat are the identifiers of {asked}?<|im_end|>\n<|im_start|>assistant\n"


#: Greedy prose of so small a model soon repeats itself (the third is the most varied of twenty tried); identifiers
#: that it looks up do not, and last for more than `TOKENS`: llama.cpp forbids the end that it is told to ignore, the
#: engine writes it and goes on.
PROMPTS = (
    _look_up("apple river stone lamp cloud orchard bridge glass", Random(1)),
    _look_up("quiet-harbour old-stone green-lantern silver-meadow little-tower wooden-bridge", Random(2)),
    "Jean Valjean took the lantern and",
)
TOKENS = 200


def dequantise(source: Path, target: Path) -> None:
    """Copies a GGUF file with every tensor as f32."""
    reader = gguf.GGUFReader(source)
    writer = gguf.GGUFWriter(target, reader.fields["general.architecture"].contents())
    for name, field in reader.fields.items():
        if name.startswith("GGUF.") or name in ("general.architecture", "general.file_type"):
            continue
        nested = field.types[-1] if field.types[0] == gguf.GGUFValueType.ARRAY else None
        writer.add_key_value(name, field.contents(), field.types[0], sub_type=nested)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    for tensor in reader.tensors:
        writer.add_tensor(tensor.name, gguf.quants.dequantize(tensor.data, tensor.tensor_type))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def complete(model: Path, prompt: str | list[int], count: int, context: int, **more: bool) -> dict:
    """What llama.cpp's server answers: `count` greedy tokens after `prompt`."""
    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(model)
    parameters.n_ctx = context
    parameters.cpuparams.n_threads = 1
    parameters.warmup = False
    server = xllamacpp.Server(parameters)
    answer = server.handle_completions({"prompt": prompt, "temperature": 0, "top_k": 1, "repeat_penalty": 1.0,
                                        "max_tokens": count, "cache_prompt": False, **more})
    return json.loads(answer) if isinstance(answer, str) else answer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    folder = tempfile.TemporaryDirectory()
    whole = Path(folder.name) / "f32.gguf"
    dequantise(arguments.model, whole)
    rows = []
    for prompt in PROMPTS:
        answer = complete(whole, prompt, TOKENS, 1024, ignore_eos=True)
        rows.append({"prompt": prompt, "tokens": TOKENS, "text": answer["choices"][0]["text"]})
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
