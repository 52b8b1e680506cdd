"""Trains everything on the accelerators at hand, in rounds, and packs what came out.

    python train_all.py --folder DIR --start START --round first  --seconds 540 --out OUT [--test test.npz]
    python train_all.py --folder DIR --start START,OUT/first.npz --round second --seconds 540 --out OUT [--test test.npz]
    python train_all.py --folder DIR --start START,OUT/first.npz,OUT/second.npz --round third --seconds 380 --out OUT

DIR is what `prepare.py` made. START holds x2, x3 and x4.experts.npz (`main.py experts`); a packed result of an earlier round is
gone on from. The first round trains the x4 fusion's two banks, the tables of clean stills and the convolutions alone; the second goes
on with the banks and starts x3 and x2 from them, and the convolutions alone from the clean bank's; the third goes on with x4
and makes the mixed banks of x3 and x2. Leaves `<round>.npz` (members `<job>|<array>`) and `<round>.json` (reports and logs) in OUT:
what there is at 85 % of the time, and again at the end. Jobs of one lane share a device, one after the other.
"""
import argparse
import io
import json
import os
import shutil
import subprocess
import sys
import threading
import time

import numpy as np
import torch

HERE = os.path.dirname(os.path.abspath(__file__))


def fusion(name, bank, scale=4, share=1.0, init=None, task="fusion", layers=8, **more):
    return dict(name=name, task=task, bank=bank, scale=scale, share=share, init=init, layers=layers, **more)


def plan(which, layers, float_share):
    """Lanes in order of weight: each is a list of jobs that follow one another."""
    if which == "first":
        return [
            [fusion("x4.clean", "clean", layers=layers)],
            [fusion("x4.mixed", "mixed", layers=layers)],
            [dict(name="x4.single", task="single", scale=4, share=0.15), dict(name="x4.two_stage", task="two_stage", scale=4, share=0.85)],
            [fusion("x4.conv_only", "clean", task="conv_only", layers=layers + 1)],
        ]
    more = dict(layers=layers, float_share=float_share)
    if which == "third":
        return [
            [fusion("x4.mixed", "mixed", init="x4.mixed", **more)],
            [fusion("x4.clean", "clean", init="x4.clean", **more)],
            [fusion("x3.mixed", "mixed", 3, 0.5, "x3.clean", count=16, **more), fusion("x2.mixed", "mixed", 2, 0.5, "x2.clean", count=16, **more)],
        ]
    return [
        [fusion("x4.clean", "clean", share=0.7, init="x4.clean", **more), fusion("x3.clean", "clean", 3, 0.15, "x4.clean", **more), fusion("x2.clean", "clean", 2, 0.15, "x4.clean", **more)],
        [fusion("x4.mixed", "mixed", share=0.7, init="x4.mixed", **more), fusion("x3.mixed", "mixed", 3, 0.15, "x4.mixed", **more), fusion("x2.mixed", "mixed", 2, 0.15, "x4.mixed", **more)],
        [dict(name="x4.two_stage", task="two_stage", scale=4, share=0.58, init="x4.two_stage"), dict(name="x3.single", task="single", scale=3, share=0.08), dict(name="x2.single", task="single", scale=2, share=0.08),
         fusion("x4.conv_only", "clean", task="conv_only", init="x4.clean", share=0.26, layers=layers + 1, float_share=float_share)],
    ]


def unpack(start, folder):
    """Puts the arrays to go on from into `folder`, one file a job."""
    if os.path.isdir(start):
        for name in os.listdir(start):
            shutil.copy(f"{start}/{name}", folder)
        return
    jobs = {}
    with np.load(start) as data:
        for key in data.files:
            job, name = key.split("|", 1)
            jobs.setdefault(job, {})[name] = data[key]
    for job, arrays in jobs.items():
        np.savez(f"{folder}/{job}.npz", **arrays)


def pack(work, names, out, which, reports, notes):
    """Everything that the jobs have saved so far, in one file."""
    arrays = {}
    for name in names:
        path = f"{work}/{name}.npz"
        if os.path.exists(path):
            try:
                with open(path, "rb") as file:
                    data = np.load(io.BytesIO(file.read()))
                arrays.update({f"{name}|{key}": data[key] for key in data.files})
            except Exception as error:  # caught in the middle of a write: the later pack has it
                notes.append(f"{name}: {error}")
    np.savez_compressed(f"{out}/{which}.npz.part.npz", **arrays)
    os.replace(f"{out}/{which}.npz.part.npz", f"{out}/{which}.npz")
    with open(f"{out}/{which}.json", "w") as file:
        json.dump({"reports": reports, "log": notes}, file, indent=1)


def main():
    began = time.time()
    parser = argparse.ArgumentParser()
    parser.add_argument("--folder", required=True)
    parser.add_argument("--start", required=True)
    parser.add_argument("--round", choices=["first", "second", "third"], required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--work", default="/tmp/lut_work")
    parser.add_argument("--test")
    parser.add_argument("--layers", type=int, default=8)
    parser.add_argument("--float_share", type=float, default=0.45)
    parser.add_argument("--cores", type=int, default=os.cpu_count())
    parser.add_argument("--skip", default="", help="jobs to leave out, by name with commas between")
    parser.add_argument("--extra", default="", help="more options for every job, such as '--limit 8 --count 4'")
    options = parser.parse_args()
    os.makedirs(options.work, exist_ok=True)
    os.makedirs(options.out, exist_ok=True)
    os.makedirs(f"{options.work}/start", exist_ok=True)
    for start in options.start.split(","):
        unpack(start, f"{options.work}/start")
    skipped = options.skip.split(",")
    lanes = [[job for job in jobs if job["name"] not in skipped] for jobs in plan(options.round, options.layers, options.float_share)]
    lanes, devices = [jobs for jobs in lanes if jobs], max(1, torch.cuda.device_count())
    ids = [i for i in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if i] or [str(i) for i in range(devices)]
    extra = options.extra.split()

    def decode(scale):
        limit = extra[extra.index("--limit") : extra.index("--limit") + 2] if "--limit" in extra else []
        workers = max(1, options.cores - 1) if scale == 4 else max(1, options.cores // 4)
        # Small matrices: threads within each worker would only fight.
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
        subprocess.run([sys.executable, f"{HERE}/main.py", "archive", "--folder", options.folder, "--scale", str(scale), "--workers", str(workers), "--out", f"{options.work}/archive.x{scale}.pt", *limit], check=True, env=environment)
        print(f"x{scale} decoded after {time.time() - began:.0f} s", flush=True)
    for scale in (4, 3, 2):
        if os.path.exists(f"{options.work}/archive.x{scale}.pt"):
            os.remove(f"{options.work}/archive.x{scale}.pt")
    threading.Thread(target=lambda: [decode(scale) for scale in (4, 3, 2)], daemon=True).start()
    end, reports, notes, running = began + options.seconds * 0.96, [], [], []

    def find(name):
        mine = f"{options.work}/{name}.npz"
        return mine if os.path.exists(mine) else f"{options.work}/start/{name}.npz"

    def lane(number, jobs):
        # With fewer devices than lanes, later lanes share the last device, then the one before it.
        device = ids[number] if number < len(ids) else ids[-1 - (number - len(ids)) % len(ids)]
        left = sum(job["share"] for job in jobs)
        for job in jobs:
            seconds = (end - time.time()) * job["share"] / left
            left -= job["share"]
            command = [sys.executable, f"{HERE}/main.py", job["task"], "--folder", options.folder, "--scale", str(job["scale"]), "--seconds", f"{seconds:.0f}", "--out", f"{options.work}/{job['name']}.npz"]
            path = f"{options.work}/archive.x{job['scale']}.pt"
            command += ["--archive", path]
            if job["task"] in ("fusion", "single"):
                command += ["--tables", find(f"x{job['scale']}.experts")]
            if "bank" in job:
                command += ["--bank", job["bank"], "--layers", str(job["layers"])]
            if "count" in job:
                command += ["--count", str(job["count"])]
            if "float_share" in job:
                command += ["--float_share", str(job["float_share"])]
            if job.get("init") and os.path.exists(find(job["init"])):
                command += ["--init", find(job["init"])]
            if options.test:
                command += ["--test", options.test]
            environment = {**os.environ, "CUDA_VISIBLE_DEVICES": device, "PYTHONUNBUFFERED": "1"}
            child = subprocess.Popen([*command, *extra], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)
            running.append(child)
            for line in child.stdout:
                line = line.rstrip()
                print(f"[{job['name']}] {line}", flush=True)
                if line.startswith("{"):
                    reports.append({"job": job["name"], **json.loads(line)})
                else:
                    notes.append(f"[{job['name']}] {line}"[:400])
            if child.wait() != 0:
                notes.append(f"[{job['name']}] ended with {child.returncode}")
    threads = [threading.Thread(target=lane, args=item, daemon=True) for item in enumerate(lanes)]
    for thread in threads:
        thread.start()
    names = [job["name"] for jobs in lanes for job in jobs]
    packed_early = False
    while any(thread.is_alive() for thread in threads) and time.time() < began + options.seconds:
        time.sleep(1)
        if not packed_early and time.time() > began + 0.85 * options.seconds:
            packed_early = True
            pack(options.work, names, options.out, options.round, reports, notes)
    pack(options.work, names, options.out, options.round, reports, notes)
    for child in running:
        if child.poll() is None:
            child.kill()


if __name__ == "__main__":
    main()
