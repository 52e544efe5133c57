"""Ten instructions for one image, beside the way the paper's authors ran their models.

    python benchmarks/extraction.py                      # mid-size random models, CPU
    python benchmarks/extraction.py --device cuda        # 7B-size random models, bfloat16, one GPU

Same model, same images in a batch, same number of new tokens (none ends early).  ``plain`` is what a
user writes with transformers: per instruction processor -> ``generate(output_hidden_states=True)`` ->
mean over the steps after the prompt's.  ``ours`` is ``Extractor``, which
decodes rows (a picture with an instruction) of several instructions together: as many as ``plain`` has in a
batch, ten, and as many as it chooses itself (``--rows``; 0 lets it choose), a row of results for each.
For ViT, ``plain`` stores the output of every layer with hooks, as thingsvision does, and averages afterwards.

Every run is a process of its own; the two ways take turns; medians are reported.  Memory is the growth of
the resident set while running, beyond model and libraries (CPU), or the largest allocation (GPU).
``load`` is the machine's load average afterwards: beyond the number of threads, times are of a busy machine
and only processor seconds (``cpu``) compare.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
from extraction_models import FAMILIES, row, write_folder

from brainalign_utils.artifacts import processor

RESULTS = Path(__file__).parent / "results"
TARGETS = {"vit": 1.0} | dict.fromkeys(FAMILIES, 0.3)


class Images:
    """Noise pictures of NSD's size, the same for both ways."""

    def __getitem__(self, nsd_id):
        return np.random.default_rng(nsd_id).integers(0, 256, (425, 425, 3), dtype=np.uint8)


def plain_mllm(name, folder, options):
    """The authors' way; returns a function that runs all instructions on all images."""
    import torch
    from transformers import AutoModelForImageTextToText, AutoProcessor

    from brainalign_utils.features.adapters.loading import load_model
    from brainalign_utils.features.mplug_owl import MplugOwlProcessor
    from brainalign_utils.tables import INSTRUCTIONS

    dtype = getattr(torch, options.dtype)
    model = load_model(AutoModelForImageTextToText, folder, dtype, torch.device(options.device), "random")
    load = MplugOwlProcessor.from_pretrained if name == "mplug-owl" else AutoProcessor.from_pretrained
    processor = load(folder, **({} if name == "mplug-owl" else {"backend": "pil"}))

    def inputs(images, instruction):
        text = row(name).prompt.replace("{instruction}", instruction)
        if name == "idefics":
            before, after = text.split("<image>")
            prompts = [[before, image, "<end_of_utterance>", after.split(">", 1)[1]] for image in images]
            batch = processor(text=prompts, add_end_of_utterance_token=False, return_tensors="pt")
        elif name == "mplug-owl":
            batch = processor(images=images, text=[text] * len(images))
        else:
            batch = processor(images=images, text=[text] * len(images), return_tensors="pt")
        return {
            k: v.to(options.device, dtype if v.is_floating_point() else v.dtype) for k, v in batch.items()
        }

    def run():
        images, features = [Images()[i] for i in range(options.n_images)], []
        for start in range(0, options.n_images, options.batch):
            for instruction in INSTRUCTIONS:
                with torch.no_grad():
                    out = model.generate(
                        **inputs(images[start : start + options.batch], instruction.text), do_sample=False,
                        max_new_tokens=options.n_new, min_new_tokens=options.n_new, eos_token_id=None,
                        pad_token_id=0, output_hidden_states=True, return_dict_in_generate=True,
                    )  # fmt: skip
                steps = [torch.stack([s[:, -1] for s in step]) for step in out.hidden_states[1:]]
                features.append(torch.stack(steps).float().mean(0).cpu().numpy())
        return features

    return run, model


def ours(name, folder, options):
    """This package's way, and the seconds it spends in each part."""
    from brainalign_utils.features.adapters import load_adapter
    from brainalign_utils.features.extraction import Extractor
    from brainalign_utils.tables import INSTRUCTIONS

    adapter = load_adapter(row(name), folder, options.device, options.dtype)
    adapter.eos_ids = ()
    rows = options.rows[0] or "auto"
    extractor = Extractor(adapter, Images(), INSTRUCTIONS, max_new_tokens=options.n_new, batch_size=rows)
    if rows != "auto":
        extractor.n_images = options.batch
    seconds = {}
    _time(adapter, "encode", "vision and prefix", seconds, options)
    if adapter.decoder is not None:
        _time(adapter, "rows", "embedding and Q-Former", seconds, options)
        _time(adapter.decoder, "start", "prompts", seconds, options)
        _time(adapter.decoder, "step", "new tokens", seconds, options)

    def run():
        seconds.clear()
        return extractor.block(np.arange(options.n_images))

    run.seconds = seconds
    run.rows = extractor.n_rows
    return run, adapter.model


def _time(thing, method, label, seconds, options):
    function = getattr(thing, method)

    def timed(*args, **kwargs):
        start = time.perf_counter()
        result = function(*args, **kwargs)
        _synchronise(options)
        seconds[label] = seconds.get(label, 0) + time.perf_counter() - start
        return result

    setattr(thing, method, timed)


def _synchronise(options):
    if options.device != "cpu":
        import torch

        torch.cuda.synchronize()


def plain_vit(name, folder, options):
    """Hooks that keep every layer's output, as thingsvision's extractor does; averaged at the end."""
    import torch
    from transformers import AutoImageProcessor, AutoModel

    from brainalign_utils.features.adapters.loading import load_model

    dtype = getattr(torch, options.dtype)
    model = load_model(AutoModel, folder, dtype, torch.device(options.device), "random")
    processor = AutoImageProcessor.from_pretrained(folder, backend="pil")

    def run():
        kept = {i: [] for i in range(len(model.layers))}
        hooks = [
            layer.register_forward_hook(lambda _, x, out, i=i: kept[i].append(out.detach().cpu()))
            for i, layer in enumerate(model.layers)
        ]
        for start in range(0, options.n_images, options.batch):
            images = [Images()[i] for i in range(start, min(start + options.batch, options.n_images))]
            with torch.no_grad():
                model(processor(images=images, return_tensors="pt")["pixel_values"].to(options.device, dtype))
        for hook in hooks:
            hook.remove()
        return [torch.cat(states).float().mean(1).numpy() for states in kept.values()]

    return run, model


class MemoryGrowth:
    """Largest resident set while running, beyond that at the start, sampled every 5 ms."""

    def __enter__(self):
        self.process, self.stop = psutil.Process(), threading.Event()
        self.start = self.largest = self.process.memory_info().rss
        self.thread = threading.Thread(target=self._watch)
        self.thread.start()
        return self

    def _watch(self):
        while not self.stop.wait(0.005):
            self.largest = max(self.largest, self.process.memory_info().rss)

    def __exit__(self, *exception):
        self.stop.set()
        self.thread.join()
        self.growth = self.largest - self.start


def work(options):
    """One measurement in this process; prints JSON."""
    import torch

    torch.set_num_threads(options.threads)
    plain = plain_vit if options.name == "vit" else plain_mllm
    on_gpu = options.device != "cpu"
    with torch.device(options.device):  # weights are drawn where they are used
        run, model = (ours if options.way == "ours" else plain)(options.name, Path(options.folder), options)
    if on_gpu or options.name == "vit":  # on a CPU the minutes of the other models drown what a warm-up saves
        n_images, options.n_images = options.n_images, min(options.n_images, 2 if on_gpu else options.batch)
        run()
        options.n_images = n_images
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
    _synchronise(options)
    wall, cpu = time.perf_counter(), time.process_time()
    with MemoryGrowth() as memory:
        run()
        _synchronise(options)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    parts = {label: round(value, 3) for label, value in getattr(run, "seconds", {}).items()}
    facts = {
        "wall": wall,
        "cpu": cpu,
        "peak_gb": (torch.cuda.max_memory_allocated() if on_gpu else memory.growth) / 1e9,
        "parameters": sum(p.numel() for p in model.parameters()),
        "parts": parts,
        "rows": getattr(run, "rows", options.batch),
        "hardware": torch.cuda.get_device_name() if on_gpu else processor(),
    }
    print(json.dumps(facts))


def measure(name, way, rows, folder, options):
    """One measurement in a process of its own."""
    command = [sys.executable, __file__, "--work", "--name", name, "--way", way, "--folder", str(folder)]
    command += ["--rows", str(rows)]
    for key in ("device", "dtype", "n_images", "batch", "n_new", "threads"):
        command += [f"--{key.replace('_', '-')}", str(getattr(options, key))]
    env = {**os.environ, "OMP_NUM_THREADS": str(options.threads), "TRANSFORMERS_VERBOSITY": "error"}
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=env)
    found = json.loads(done.stdout.strip().splitlines()[-1])
    print(name, way, {k: round(v, 2) if isinstance(v, float) else v for k, v in found.items()}, flush=True)
    return found


def rows_of(name, options):
    """ViT answers nothing: it has no rows to decode."""
    return [options.batch] if name == "vit" else options.rows


def compare(name, options):
    """Both ways in turns; a row of medians and their ratio for every number of rows decoded together."""
    runs = {("plain", options.batch): []} | {("ours", rows): [] for rows in rows_of(name, options)}
    with tempfile.TemporaryDirectory() as scratch:
        folder = write_folder(name, options.size, Path(scratch) / name)
        for _ in range(options.n_runs):
            for (way, rows), found in runs.items():
                found.append(measure(name, way, rows, folder, options))
    plain = runs.pop(("plain", options.batch))
    return [compared(name, plain, ours, options) for ours in runs.values()]


def compared(name, plain, ours, options):
    middle = {
        way: {key: float(np.median([run[key] for run in found])) for key in ("wall", "cpu", "peak_gb")}
        for way, found in (("plain", plain), ("ours", ours))
    }
    last = ours[-1]
    n_tokens = options.n_images * (1 if name == "vit" else 10 * options.n_new)
    return {
        "model": name,
        "parameters_millions": round(last["parameters"] / 1e6),
        "n_images": options.n_images,
        "batch": options.batch,
        "rows": last["rows"],
        "new_tokens": 0 if name == "vit" else options.n_new,
        **{
            f"{way}_{key}": round(value, 3) for way, values in middle.items() for key, value in values.items()
        },
        "ratio_wall": round(middle["ours"]["wall"] / middle["plain"]["wall"], 3),
        "ratio_cpu": round(middle["ours"]["cpu"] / middle["plain"]["cpu"], 3),
        "target": TARGETS[name] if options.size == "mid" else None,
        "images_per_second": round(options.n_images / middle["ours"]["wall"], 3),
        "new_tokens_per_second": round(n_tokens / middle["ours"]["wall"], 1) if name != "vit" else None,
        "utilisation": utilisation(name, last, middle["ours"]["wall"], options),
        "parts": json.dumps(last["parts"]),
        "hardware": last["hardware"],
        "load": round(os.getloadavg()[0], 1),
    }


def utilisation(name, run, wall, options):
    """Share of the peak rate, by 2 operations per parameter and token of the language model alone.

    A lower bound: the vision tower's work is left out.  None without ``--peak-tflops``.
    """
    if not options.peak_tflops or name == "vit":
        return None
    n_prompt = {"instructblip": 45, "idefics": 25, "mplug-owl": 20}[name]
    language = 6.7e9 if options.size == "7b" else 5e7
    work = 2 * language * options.n_images * 10 * (n_prompt + options.n_new)
    return round(work / wall / (options.peak_tflops * 1e12), 3)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"])
    parser.add_argument("--size", choices=["mid", "7b"])
    parser.add_argument("--models", nargs="+", default=[*FAMILIES, "vit"])
    parser.add_argument("--n-images", type=int)
    parser.add_argument("--batch", type=int, help="images in a batch")
    parser.add_argument("--rows", type=int, nargs="+", help="rows ours decodes together; 0 lets it choose")
    parser.add_argument("--n-new", type=int)
    parser.add_argument("--n-runs", type=int, default=1)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--peak-tflops", type=float, help="of the device, for the utilisation")
    for name in ("name", "way", "folder"):
        parser.add_argument(f"--{name}", help=argparse.SUPPRESS)
    parser.add_argument("--work", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    on_gpu = options.device != "cpu"
    defaults = {
        "dtype": "bfloat16" if on_gpu else "float32", "size": "7b" if on_gpu else "mid",
        "n_images": 32 if on_gpu else 4, "batch": 16 if on_gpu else 4, "n_new": 30 if on_gpu else 16,
        "rows": [16, 0] if on_gpu else [4, 10, 0],
    }  # fmt: skip
    for key, value in defaults.items():
        if getattr(options, key) is None:
            setattr(options, key, value)
    if options.work:
        work(options)
        return
    for name in options.models:  # each is written as soon as it is measured
        report(compare(name, options), options)


def report(rows, options):
    """Print rows and put them in place of older ones of the same models."""
    table = pd.DataFrame(rows)
    table["dtype"], table["threads"] = options.dtype, options.threads
    table["date"] = datetime.now(UTC).date().isoformat()
    table["versions"] = ", ".join(f"{p} {version(p)}" for p in ("torch", "transformers"))
    path = RESULTS / f"extraction_{options.device.split(':')[0]}.csv"
    RESULTS.mkdir(exist_ok=True)
    if path.exists():  # rows of models that were not run now stay
        older = pd.read_csv(path)
        table = pd.concat([older[~older["model"].isin(table["model"])], table], ignore_index=True)
    table.to_csv(path, index=False)
    print(table.drop(columns=["parts", "versions", "hardware"]).T.to_string())
    print(table[["model", "parts"]].to_string())


if __name__ == "__main__":
    main()
