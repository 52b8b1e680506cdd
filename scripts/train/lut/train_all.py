"""Trains everything on the accelerators at hand, in rounds, and packs what came out.

    python train_all.py --folder DIR --start START --round first  --seconds 200 --out OUT [--test test.npz]
    python train_all.py --folder DIR --start START,OUT/first.npz --round second --seconds 540 --out OUT [--test test.npz]
    python train_all.py --folder DIR --start START,OUT/first.npz,OUT/second.npz --round third --seconds 300 --out OUT

DIR is what `prepare.py` made. START holds x2, x3 and x4.experts.npz (`main.py experts`) and x4.two_stage.npz (`main.py two_stage`). The
first round trains two shapes of the x4 clean net; the second goes on with the one that did better on stills held out, as both banks, with the
two-stage tables, and with the convolutions alone; the third starts x3 and x2 from it and solves the tables that stand alone; a fourth goes on with both
x4 banks, with x2's mixed one, and with x4's mixed one at x3. Leaves
`<round>.npz` (members `<job>|<array>`) and `<round>.json` (reports and logs) in OUT, what there is at every 45 seconds. Jobs of one
lane follow one another.
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


# Trunks that cost two cores about ten milliseconds a frame of 320x180: wide ones, and narrow ones of more layers.
TRUNKS = {"x4.clean": "16,32,32,32,32,32", "x4.deep": "32,16,32,16,32,16,32,16,32"}


def fusion(name, bank, scale=4, share=1.0, init=None, task="fusion", **more):
    return dict(name=name, task=task, bank=bank, scale=scale, share=share, init=init, **more)


def plan(which, best):
    """Lanes that share a device: each is a list of jobs that follow one another. `best` is the clean net to go on from."""
    if which == "first":
        return [[fusion(name, "clean", hidden=hidden, float_share=0.8, rates="2e-3,3e-4,3e-4,1e-5")] for name, hidden in TRUNKS.items()]
    more = dict(init=best, float_share=0.5, rates="1e-3,1e-4,4e-4,1e-6")
    if which == "second":
        return [
            [fusion("x4.clean", "clean", **more)],
            [fusion("x4.mixed", "mixed", **more)],
            # What tables and gates cost buys the convolutions alone one layer more.
            [dict(name="x4.two_stage", task="two_stage", scale=4, share=0.6, init="x4.two_stage"), fusion("x4.conv_only", "clean", task="conv_only", share=0.4, hidden="+32", **more)],
        ]
    if which == "fourth":
        longer = dict(float_share=0.4, rates="8e-4,1e-4,3e-4,1e-6")
        # What x3 learns from x4's layers is better at heavy damage than what it learns from its own, and worse at soft scenes: for its third bank.
        return [
            [fusion("x4.clean", "clean", init="x4.clean", **longer)],
            [fusion("x4.mixed", "mixed", init="x4.mixed", **longer)],
            [fusion("x2.mixed", "mixed", 2, init="x2.mixed", **longer)],
            [fusion("x3.heavy", "mixed", 3, init="x4.mixed", **longer)],
        ]
    return [
        [fusion("x3.clean", "clean", 3, 0.5, **more), fusion("x2.clean", "clean", 2, 0.5, **more)],
        [fusion("x3.mixed", "mixed", 3, 0.5, **more), fusion("x2.mixed", "mixed", 2, 0.5, **more)],
        [dict(name=f"x{s}.single", task="single", scale=s, share=0.3) for s in (4, 3, 2)],
    ]


def best_of(reports, find):
    """The clean x4 net that errs least on stills held out, of those that exist."""
    scores = {r["job"]: r["held_out_stills"] for r in reports if "held_out_stills" in r}
    names = [name for name in TRUNKS if os.path.exists(find(name))]
    return max(names, key=lambda name: scores.get(name, 0), default=None)


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
    parser.add_argument("--round", choices=["first", "second", "third", "fourth"], required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--work", default="/tmp/lut_work")
    parser.add_argument("--test")
    parser.add_argument("--best", help="the x4 net to go on from, by default the one that did best in reports found beside --start")
    parser.add_argument("--cores", type=int, default=os.cpu_count())
    parser.add_argument("--skip", default="", help="jobs to leave out, by name with commas between")
    parser.add_argument("--extra", default="", help="more options for every job, such as '--limit 8 --count 4'")
    options = parser.parse_args()
    os.makedirs(options.work, exist_ok=True)
    os.makedirs(options.out, exist_ok=True)
    os.makedirs(f"{options.work}/start", exist_ok=True)
    os.makedirs(f"{options.work}/{options.round}", exist_ok=True)
    earlier = []
    for start in options.start.split(","):
        if not os.path.exists(start):
            print(f"{start}: not there, going on without", flush=True)
            continue
        unpack(start, f"{options.work}/start")
        if os.path.exists(start.removesuffix(".npz") + ".json"):
            with open(start.removesuffix(".npz") + ".json") as file:
                earlier += json.load(file)["reports"]

    def started(name):
        return f"{options.work}/start/{name}.npz"
    best = options.best or best_of(earlier, started)
    print(f"going on from {best}", flush=True)
    skipped = options.skip.split(",")
    lanes = [[job for job in jobs if job["name"] not in skipped] for jobs in plan(options.round, best)]
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
    scales = [s for s in (4, 3, 2) if any(job["scale"] == s for jobs in lanes for job in jobs) and not os.path.exists(f"{options.work}/archive.x{s}.pt")]
    threading.Thread(target=lambda: [decode(scale) for scale in scales], daemon=True).start()
    end, reports, notes, running = began + options.seconds * 0.96, [], [], []

    def find(name):
        mine = f"{options.work}/{options.round}/{name}.npz"
        return mine if os.path.exists(mine) else started(name)

    def lane(number, jobs):
        # With fewer devices than lanes, later lanes share the last device, then the one before it.
        device = ids[number] if number < len(ids) else ids[-1 - (number - len(ids)) % len(ids)]
        left = sum(job["share"] for job in jobs)
        for job in jobs:
            seconds = (end - time.time()) * job["share"] / left
            left -= job["share"]
            command = [sys.executable, f"{HERE}/main.py", job["task"], "--folder", options.folder, "--scale", str(job["scale"]), "--seconds", f"{seconds:.0f}", "--out", f"{options.work}/{options.round}/{job['name']}.npz"]
            path = f"{options.work}/archive.x{job['scale']}.pt"
            command += ["--archive", path]
            if job["task"] in ("fusion", "single"):
                command += ["--tables", find(f"x{job['scale']}.experts")]
            if "bank" in job:
                command += ["--bank", job["bank"]]
            for name in ("count", "hidden", "float_share", "rates"):
                if name in job:
                    command += [f"--{name}", str(job[name])]
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
    packed = time.time()
    while any(thread.is_alive() for thread in threads) and time.time() < began + options.seconds:
        time.sleep(1)
        if time.time() > packed + 45:
            packed = time.time()
            pack(f"{options.work}/{options.round}", names, options.out, options.round, reports, notes)
    pack(f"{options.work}/{options.round}", names, options.out, options.round, reports, notes)
    for child in running:
        if child.poll() is None:
            child.kill()


if __name__ == "__main__":
    main()
