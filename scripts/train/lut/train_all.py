"""Trains everything on the accelerators at hand, in rounds, and packs what came out.

    python train_all.py --folder DIR --start START --round first  --seconds 540 --out OUT [--test test.npz]
    python train_all.py --folder DIR --start START,OUT/first.npz --round second --seconds 540 --out OUT [--test test.npz]

DIR is what `prepare.py` made. START holds x2, x3 and x4.experts.npz (`main.py experts`); a packed result of an earlier round is
gone on from. The first round trains the x4 fusion's two banks and the tables of clean stills; the second goes on with them, starts
x3 and x2 from the banks, and compares a short fusion with the convolutions alone. Leaves `<round>.npz` (members `<job>|<array>`) and `<round>.json` (reports and logs) in OUT:
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


LAYERS = 8
# Layers that cost what tables and gates do.
CONV_ONLY = 2


def fusion(name, bank, scale=4, share=1.0, init=None, task="fusion", layers=LAYERS, **more):
    return dict(name=name, task=task, bank=bank, scale=scale, share=share, init=init, layers=layers, **more)


def plan(which, float_share):
    """Lanes that run side by side: each is a list of jobs that follow one another, `share` of the lane's time each."""
    if which == "first":
        return [
            [fusion("x4.clean", "clean", float_share=0.7)] + [dict(name=f"x{s}.single", task="single", scale=s, share=0.06) for s in (4, 3, 2)],
            [fusion("x4.mixed", "mixed", share=0.55, float_share=0.7), dict(name="x4.two_stage", task="two_stage", scale=4, share=0.45)],
        ]
    more = dict(float_share=float_share)
    return [
        [fusion(f"x4.{bank}", bank, share=0.76, init=f"x4.{bank}", **more)] + [fusion(f"x{s}.{bank}", bank, s, 0.12, f"x4.{bank}", **more) for s in (3, 2)]
        for bank in ("clean", "mixed")
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
    parser.add_argument("--round", choices=["first", "second"], required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--work", default="/tmp/lut_work")
    parser.add_argument("--test")
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
    lanes = [[job for job in jobs if job["name"] not in skipped] for jobs in plan(options.round, options.float_share)]
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
    # A later round on the same machine finds the folder decoded.
    if options.round == "first":
        for scale in (4, 3, 2):
            if os.path.exists(f"{options.work}/archive.x{scale}.pt"):
                os.remove(f"{options.work}/archive.x{scale}.pt")
    threading.Thread(target=lambda: [decode(scale) for scale in (4, 3, 2) if not os.path.exists(f"{options.work}/archive.x{scale}.pt")], daemon=True).start()
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
