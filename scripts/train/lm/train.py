"""Trains a configuration on one device or on all GPUs of a host, writes its weights and, where asked, scores them.

    python -m scripts.train.lm.train --config tiny --corpus FILE --tokenizer FILE --out DIR [--run N] [--resume DIR]
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from scripts.train.lm.config import CONFIGS, Phase, Run, TrainConfig, plan_steps, tokens_per_device
from scripts.train.lm.data import Batch
from scripts.train.lm.devices import Devices, Gradients, on_devices
from scripts.train.lm.export import load_weights, save_weights
from scripts.train.lm.model import Decoder, causal_attention, token_losses
from scripts.train.lm.near import before_none, far_mass
from scripts.train.lm.optimizer import make_optimizers
from scripts.train.lm.stream import BatchStream

#: Weights are also saved when this share of the time has passed, in case the machine is taken away.
_EARLY = 0.85
#: Steps between lines of progress, and between looks at the clock (in long phases every step looks).
_REPORT, _LOOK = 100, 8


def learning_rate_scale(run: Run, done: float, step: int, config: TrainConfig) -> float:
    """The rate relative to the configured one after a share `done` of the run. Every run warms up: its moments are
    fresh."""
    warm = min(1.0, (step + 1) / config.warmup_steps)
    fall = max(0.0, (done - run.flat) / (1 - run.flat))
    return warm * (run.peak + (run.end - run.peak) * min(1.0, fall))


def phase_ends(run: Run, begin: float, end: float) -> list[float]:
    """When each phase's time is over, for a run from `begin` to `end`."""
    sums = np.cumsum([phase.share for phase in run.phases])
    return [begin + (end - begin) * each for each in (sums / sums[-1]).tolist()]


def losses(model: Decoder, head, batch: Batch, phase: Phase, config: TrainConfig, device: torch.device,
           near_penalty: float = 0.0) -> tuple[Tensor, list[Tensor]]:
    """The loss to minimise; then, to watch, the running text's and the answers' mean loss in nats, the share of
    neurons that fire in the most active layer and, where it is priced, that of attention that goes far."""
    ids = _to_device(batch.ids.astype(np.int32), device)
    targets = _to_device(batch.targets.astype(np.int64), device).view(-1)
    weights = _to_device(batch.weights, device).float().view(-1)
    positions = _to_device(batch.positions, device).view(-1)
    far: list[Tensor] = []
    priced = before_none(weights >= config.answer_weight)

    def watched_attention(q: Tensor, k: Tensor, v: Tensor, length: int, layer: int) -> Tensor:
        far.append(far_mass(q, k, length, priced))
        return causal_attention(q, k, v, length, layer)

    attention = watched_attention if near_penalty else causal_attention
    states, activity = model(ids, positions, torch.bfloat16, phase.dropout, attention, config.most_live)
    each = head(states, model.embed_tokens.weight, targets)
    # A long row with a single answer shall not count as much as one with hundreds.
    loss = (each * weights).sum() / weights.sum().clamp(min=len(weights) / 200)
    text, answer = (weights == 1.0).float(), (weights >= config.answer_weight).float()
    means = [(each.detach() * mask).sum() / mask.sum().clamp(min=1) for mask in (text, answer)]
    if config.sparsity_penalty:
        loss = loss + config.sparsity_penalty * activity[:, 1].sum()
    distance = torch.stack(far).mean() if far else loss.new_zeros(())
    if near_penalty:
        loss = loss + near_penalty * distance
    return loss, [*means, activity[:, 0].detach().max(), distance.detach()]


def _to_device(values: np.ndarray, device: torch.device) -> Tensor:
    """Copies without waiting for the device's earlier work: from pinned memory, where there is a GPU."""
    given = torch.from_numpy(values)
    return given.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else given


def warm_up(model: Decoder, head, config: TrainConfig, shapes: set[tuple[int, int, float]], device: torch.device) -> None:
    """Compiles for every number of tokens, length and dropout, so that the clock of the phases starts afterwards."""
    for tokens, length, dropout in sorted(shapes):
        rows = max(1, tokens // length)
        ids = np.zeros((rows, length), dtype=np.uint16)
        batch = Batch(ids, ids, np.ones((rows, length), np.float16),
                      np.broadcast_to(np.arange(length, dtype=np.int32), (rows, length)).copy())
        losses(model, head, batch, Phase(length, 0, 0, 0, 0, 0, dropout=dropout), config, device)[0].backward()


def train(rank: int, count: int, meeting: str, a: argparse.Namespace, started: float) -> None:
    """Trains one run of the configuration, as one of `count` processes. With `a.seconds` the clock decides when a phase
    gives way to the next, how the rate falls and when training ends; without, the plan's steps do."""
    config = CONFIGS[a.config]
    run, plan = config.runs[a.run], plan_steps(config.runs[a.run])
    near_penalty = run.near_penalty if a.near_penalty is None else a.near_penalty
    tokens = [tokens_per_device(step.phase, config, count) for step in plan]
    stream = BatchStream(a.corpus, a.tokenizer, config, [step.phase for step in plan], tokens,
                         config.seed * 1000 + a.run, rank, a.workers)
    devices = Devices(rank, count, started)
    devices.connect(meeting)
    device = devices.device
    torch.manual_seed(config.seed + a.run)
    torch.set_float32_matmul_precision("high")
    model = (load_weights(a.resume)[0] if a.resume else Decoder(config.model)).to(device)
    devices.share_weights(model)
    torch.manual_seed(config.seed + a.run + 1000 * (rank + 1))
    optimizers = make_optimizers(model, config.muon_lr, config.adam_lr, config.weight_decay)
    gradients = Gradients(model, config.most_gradient)
    head = token_losses
    if device.type == "cuda":
        model.compile()
        head = torch.compile(token_losses, dynamic=False)
        # One length for each number of tokens: compiled parts do not see the length.
        warm_up(model, head, config, {(size, min(2048, step.phase.length), step.phase.dropout)
                                      for step, size in zip(plan, tokens)}, device)
        gradients.clear()
    now = begin = devices.seconds()
    ends = phase_ends(run, begin, a.seconds)
    if devices.first:
        print(f"{count} device(s), {sum(p.numel() for p in model.parameters())} parameters, ready after {begin:.0f} s",
              flush=True)
    step = done = seen = total = counted = 0
    checked, waited, saved = now, 0.0, False
    sums = torch.zeros(6, device=device)
    while step < len(plan):
        phase = plan[step].phase
        if done % _LOOK == 0 or phase.length >= 8192:
            now = devices.seconds()
            while step < len(plan) and now > ends[plan[step].index]:
                step += 1
            if step == len(plan):
                break
            phase = plan[step].phase
        share = step / len(plan) if a.seconds == float("inf") else (now - begin) / (a.seconds - begin)
        scale = learning_rate_scale(run, share, done, config)
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["peak"] * scale
        asked = time.monotonic()
        batch = stream.get(step)
        waited += time.monotonic() - asked
        loss, watched = losses(model, head, batch, phase, config, device, near_penalty)
        loss.backward()
        length = gradients.settle(devices)
        for optimizer in optimizers:
            optimizer.step()
        gradients.clear()
        sums += torch.stack((loss.detach(), *watched, length))
        step, done, counted = step + 1, done + 1, counted + 1
        seen += batch.ids.size * count
        if done % _REPORT == 0 or step == len(plan) or plan[step].index != plan[step - 1].index or (
                phase.length >= 32768 and done % 20 == 0):
            mean = (sums / counted).tolist()
            total += seen
            if devices.first:
                clock = time.monotonic() - started
                left = a.seconds - clock if a.seconds < float("inf") else (clock - begin) / step * (len(plan) - step)
                print(f"{clock:.0f}s step {done} (plan {step}/{len(plan)}) length {phase.length} loss {mean[0]:.3f} text "
                      f"{mean[1]:.3f} answers {mean[2]:.4f} firing {mean[3]:.3f} far {mean[4]:.3f} gradient {mean[5]:.2f} rate {scale:.2f} "
                      f"{seen / (clock - checked) / 1e3:.0f}k tok/s wait {waited:.1f}s eta {left:.0f}s", flush=True)
                checked = clock
            sums.zero_()
            seen, counted, waited = 0, 0, 0.0
        if not saved and share > _EARLY and devices.first:
            save_weights(model, a.out, done)
            saved = True
    stream.close()
    if devices.first:
        save_weights(model, a.out, done)
        print(f"stopped after {done} steps, {(total + seen) / 1e6:.0f} M tokens and {time.monotonic() - started:.0f} s",
              flush=True)
    devices.close()


def main() -> None:
    started = time.monotonic()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", choices=sorted(CONFIGS), required=True)
    parser.add_argument("--corpus", type=Path, required=True, help="file written by scripts.train.lm.prepare")
    parser.add_argument("--tokenizer", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--run", type=int, default=0, help="which of the configuration's runs (default 0)")
    parser.add_argument("--resume", type=Path, help="weights to continue from")
    parser.add_argument("--devices", type=int, default=max(1, torch.cuda.device_count()),
                        help="processes that train side by side (default: the visible GPUs)")
    parser.add_argument("--workers", type=int, default=max(1, (os.cpu_count() or 1) * 7 // 8
                                                           // max(1, torch.cuda.device_count())),
                        help="processes that make batches for each device")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="finish within this many seconds")
    parser.add_argument("--near-penalty", type=float, help="price of attention that goes far, instead of the run's")
    on = parser.parse_args()
    on_devices(on.devices, train, on, started)


if __name__ == "__main__":
    main()
