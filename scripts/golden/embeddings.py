"""Writes what llama.cpp makes of texts as embeddings, for the engine to be compared with: of the small embedded model, which does not say how
texts are pooled (their mean), and of a golden decoder with the metadata that Qwen3-Embedding files have (the last token, an end token behind
every text). Needs the packages `gguf` and `xllamacpp`, which carries llama.cpp.

llama.cpp is given the same files with their matrices dequantised, as in `scripts.golden.greedy`.

    python -m scripts.golden.embeddings --models models --golden tests/golden/models --out tests/golden/text/embeddings.json
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import gguf
import xllamacpp

from scripts.golden.greedy import dequantise

TEXTS = (
    "The quick brown fox jumps over the lazy dog.",
    "Naïve façade: 12,345 €",
    "x",
    "Once upon a time there was a sparrow that lived in a wood. " * 6,
)
#: As llama.cpp's converter writes them for Qwen3-Embedding.
QWEN3_EMBEDDING = {"qwen3.pooling_type": 3, "tokenizer.ggml.add_eos_token": True}


def with_metadata(source: Path, target: Path, more: dict[str, int | bool]) -> None:
    """Copies a GGUF file of f32 tensors with `more` metadata."""
    reader = gguf.GGUFReader(source)
    writer = gguf.GGUFWriter(target, reader.fields["general.architecture"].contents())
    for name, field in reader.fields.items():
        if name.startswith("GGUF.") or name == "general.architecture":
            continue
        nested = field.types[-1] if field.types[0] == gguf.GGUFValueType.ARRAY else None
        writer.add_key_value(name, field.contents(), field.types[0], sub_type=nested)
    for name, value in more.items():
        kind = gguf.GGUFValueType.BOOL if isinstance(value, bool) else gguf.GGUFValueType.UINT32
        writer.add_key_value(name, value, kind)
    for tensor in reader.tensors:
        writer.add_tensor(tensor.name, tensor.data)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def embed(model: Path, pooling: xllamacpp.llama_pooling_type) -> list[list[float]]:
    """Unit vectors of `TEXTS`."""
    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(model)
    parameters.n_ctx = 512
    parameters.cpuparams.n_threads = 1
    parameters.warmup = False
    parameters.embedding = True
    parameters.pooling_type = pooling
    # Otherwise keys and values are rounded to half precision.
    parameters.cache_type_k = parameters.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
    parameters.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
    server = xllamacpp.Server(parameters)
    answer = server.handle_embeddings({"input": list(TEXTS)})
    rows = (json.loads(answer) if isinstance(answer, str) else answer)["data"]
    return [[float(f"{x:.7g}") for x in row["embedding"]] for row in rows]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--golden", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        mini, qwen3 = Path(name) / "mini.gguf", Path(name) / "qwen3.gguf"
        dequantise(arguments.models / "sparrow-mini.gguf", mini)
        with_metadata(arguments.golden / "tiny_qwen3_f32.gguf", qwen3, QWEN3_EMBEDDING)
        kinds = xllamacpp.llama_pooling_type
        vectors = {
            "sparrow-mini": embed(mini, kinds.LLAMA_POOLING_TYPE_MEAN),
            # Told nothing, llama.cpp goes by the file too.
            "tiny_qwen3_f32": embed(qwen3, kinds.LLAMA_POOLING_TYPE_UNSPECIFIED),
        }
    arguments.out.write_text(json.dumps({"texts": TEXTS, "vectors": vectors}) + "\n")


if __name__ == "__main__":
    main()
