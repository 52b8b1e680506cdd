"""Trains a configuration and writes its weights.

    python -m scripts.train.lm.train --config tiny --data DIR --tokenizer FILE --out DIR [--run N] [--resume DIR]
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from scripts.train.lm.config import CONFIGS, Phase, Run, TrainConfig, plan_steps
from scripts.train.lm.data import Batch, BatchStream
from scripts.train.lm.export import load_weights, save_weights
from scripts.train.lm.model import Decoder, token_losses
from scripts.train.lm.optimizer import make_optimizers


def learning_rate_scale(run: Run, done: float, step: int, config: TrainConfig) -> float:
    """The rate relative to the configured one after a share `done` of the run. Every run warms up: its moments are
    fresh."""
    warm = min(1.0, (step + 1) / config.warmup_steps)
    fall = max(0.0, (done - run.flat) / (1 - run.flat))
    return warm * (run.peak + (run.end - run.peak) * min(1.0, fall))


def losses(model: Decoder, head, batch: Batch, phase: Phase, config: TrainConfig, device: str,
           dtype: torch.dtype) -> tuple[Tensor, list[Tensor]]:
    """The loss to minimise; then, to watch, the running text's and the answers' mean loss in nats and the activity of
    the most active layer."""
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
        loss = loss + config.activity_penalty * (activity - config.activity_target).clamp(min=0).sum()
    return loss, [*means, activity.detach().max()]


def train(config: TrainConfig, data: Path, tokenizer: Path, out: Path, run: int, resume: Path | None,
          workers: int, seconds: float) -> Decoder:
    """Trains `config.runs[run]`, from `resume` where given. With `seconds`, the rate follows the clock where that is
    ahead of the steps, and training ends in time."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    dtype = torch.bfloat16
    torch.manual_seed(config.seed + run)
    torch.set_float32_matmul_precision("high")
    schedule, plan = config.runs[run], plan_steps(config.runs[run])
    model = load_weights(resume)[0] if resume else Decoder(config.model)
    model.to(device)
    stream = BatchStream(data, tokenizer, config, plan, config.seed * 1000 + run, workers)
    optimizers = make_optimizers(model, config.muon_lr, config.adam_lr, config.weight_decay)
    head = token_losses
    if device == "cuda":
        model.compile()
        head = torch.compile(token_losses, dynamic=False)
    began = checked = time.monotonic()
    done = tokens = counted = 0
    sums = torch.zeros(4, device=device)
    waited = 0.0
    for step, phase in enumerate(plan):
        spent = time.monotonic() - began
        if spent > seconds:
            break
        scale = learning_rate_scale(schedule, max(step / len(plan), spent / seconds), step, config)
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["peak"] * scale
        asked = time.monotonic()
        batch = stream.get(step)
        waited += time.monotonic() - asked
        loss, watched = losses(model, head, batch, phase, config, device, dtype)
        loss.backward()
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        sums += torch.stack((loss.detach(), *watched))
        counted += 1
        tokens += batch.ids.size
        done = step + 1
        if done % 50 == 0 or done == len(plan) or (
                plan[done].length != phase.length and phase.steps and not phase.refresh_every):
            mean = (sums / counted).tolist()
            now = time.monotonic()
            left = min((now - began) / done * (len(plan) - done), seconds - (now - began))
            print(f"{now - began:.0f}s step {done}/{len(plan)} length {phase.length} loss {mean[0]:.3f} "
                  f"text {mean[1]:.3f} answers {mean[2]:.4f} activity {mean[3]:.3f} rate {scale:.2f} "
                  f"{tokens / (now - checked) / 1e3:.0f}k tok/s wait {waited:.1f}s eta {left:.0f}s", flush=True)
            sums.zero_()
            tokens, counted, checked, waited = 0, 0, now, 0.0
    stream.close()
    save_weights(model, out, done)
    print(f"stopped after {done} of {len(plan)} steps and {time.monotonic() - began:.0f} s", flush=True)
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
    parser.add_argument("--seconds", type=float, default=float("inf"), help="finish within this many seconds")
    a = parser.parse_args()
    train(CONFIGS[a.config], a.data, a.tokenizer, a.out, a.run, a.resume, a.workers, a.seconds)


if __name__ == "__main__":
    main()
