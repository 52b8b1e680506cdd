"""Trains a configuration and writes its weights.

    python -m scripts.train.lm.train --config tiny --data DIR --tokenizer FILE --out DIR [--run N] [--resume DIR]
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor

from scripts.train.lm.config import CONFIGS, Phase, TrainConfig
from scripts.train.lm.data import Batch, BatchStream
from scripts.train.lm.export import load_weights, save_weights
from scripts.train.lm.model import Decoder, token_losses
from scripts.train.lm.optimizer import make_optimizers


#: Share of a time limit over which the rate falls to zero when the limit would otherwise cut training short.
TIMED_DECAY = 0.3


def learning_rate_scale(step: int, run_start: int, total: int, config: TrainConfig, time_left: float) -> float:
    """Warm-up at each run's start (its moments are fresh), flat, then linear to zero at the end of the last run, or
    of the time limit: `time_left` is the share of it that remains."""
    warm = min(1.0, (step - run_start + 1) / config.warmup_steps)
    return max(0.0, warm * min(1.0, (total - step) / (config.decay_share * total), time_left / TIMED_DECAY))


def losses(model: Decoder, head, batch: Batch, phase: Phase, config: TrainConfig, device: str,
           dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """Weighted mean loss, mean running-text loss and mean answer loss, in nats."""
    ids = torch.from_numpy(batch.ids.astype(np.int32)).to(device, non_blocking=True)
    targets = torch.from_numpy(batch.targets.astype(np.int64)).to(device, non_blocking=True).view(-1)
    weights = torch.from_numpy(batch.weights).to(device, non_blocking=True).float().view(-1)
    positions = torch.from_numpy(batch.positions).to(device, non_blocking=True).view(-1)
    states, activity = model(ids, positions, dtype, phase.dropout)
    each = head(states, model.embed_tokens.weight, targets)
    loss = (each * weights).sum() / weights.sum().clamp(min=1)
    text, answer = (weights == 1.0).float(), (weights == config.answer_weight).float()
    means = [(each.detach() * mask).sum() / mask.sum().clamp(min=1) for mask in (text, answer)]
    if config.activity_penalty:
        loss = loss + config.activity_penalty * activity.mean()
    return loss, means[0], means[1]


def train(config: TrainConfig, data: Path, tokenizer: Path, out: Path, run: int, resume: Path | None,
          workers: int, seconds: float) -> Decoder:
    """Runs `config.runs[run]`. Stops early after `seconds`, at a step from which a later call can resume; the last run
    anneals its rate to that limit."""
    final = run + 1 == len(config.runs)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    dtype = torch.bfloat16
    torch.manual_seed(config.seed)
    torch.set_float32_matmul_precision("high")
    plan = [phase for phases in config.runs[:run + 1] for phase in phases for _ in range(phase.steps)]
    total = sum(phase.steps for phases in config.runs for phase in phases)
    model, start = (load_weights(resume) if resume else (Decoder(config.model), 0))
    model.to(device)
    stream = BatchStream(data, tokenizer, config, plan, start, workers)
    optimizers = make_optimizers(model, config.muon_lr, config.adam_lr, config.weight_decay)
    head = token_losses
    if device == "cuda":
        model.compile()
        head = torch.compile(token_losses, dynamic=False)
    began = checked = time.monotonic()
    tokens = step = counted = 0
    sums = torch.zeros(3, device=device)
    waited = 0.0
    for step in range(start, len(plan)):
        spent = time.monotonic() - began
        if spent > seconds:
            break
        phase = plan[step]
        scale = learning_rate_scale(step, start, total, config, 1 - spent / seconds if final else 1.0)
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["peak"] * scale
        asked = time.monotonic()
        batch = stream.get(step)
        waited += time.monotonic() - asked
        loss, text, answer = losses(model, head, batch, phase, config, device, dtype)
        loss.backward()
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        sums += torch.stack((loss.detach(), text, answer))
        counted += 1
        tokens += batch.ids.size
        last = step + 1 == len(plan) or plan[step + 1].length != phase.length
        if (step + 1) % 50 == 0 or last:
            mean = (sums / counted).tolist()
            counted = 0
            now = time.monotonic()
            rate = tokens / (now - checked)
            left = (now - began) / (step + 1 - start) * (len(plan) - step - 1)
            print(f"step {step + 1}/{len(plan)} length {phase.length} loss {mean[0]:.3f} text {mean[1]:.3f} "
                  f"answers {mean[2]:.4f} lr {scale:.2f} {rate / 1e3:.0f}k tok/s wait {waited:.1f}s "
                  f"eta {left:.0f}s", flush=True)
            sums.zero_()
            tokens, checked, waited = 0, now, 0.0
    else:
        step = len(plan)
    stream.close()
    save_weights(model, out, step)
    print(f"stopped at step {step} of {len(plan)} after {time.monotonic() - began:.0f} s", flush=True)
    return model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", choices=sorted(CONFIGS), required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--tokenizer", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--run", type=int, default=0, help="which of the configuration's runs (default 0)")
    parser.add_argument("--resume", type=Path, help="weights to continue from")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=float("inf"), help="stop after this many seconds")
    a = parser.parse_args()
    train(CONFIGS[a.config], a.data, a.tokenizer, a.out, a.run, a.resume, a.workers, a.seconds)


if __name__ == "__main__":
    main()
