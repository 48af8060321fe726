"""Seconds of a training step and of a step of generation beside other programs, by how long threads wait awake.

    python speed/busy.py MODEL    # a checkpoint's folder: models/seed of the demo

Each figure is measured in a process of its own, beside 0, 1 or 2 loops that do nothing else; two threads.
"""

import os
import subprocess
import sys
import time

LOOP = "while True: pass"


def measure(folder: str) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    ids = torch.randint(0, 40_000, (2, 200), generator=torch.Generator().manual_seed(1))

    def train() -> None:
        model(input_ids=ids, labels=ids).loss.backward()
        model.zero_grad()

    train()
    training = timed(train, 2)
    with torch.inference_mode():
        cache = model(input_ids=ids[:, :100].repeat(8, 1), use_cache=True, logits_to_keep=1).past_key_values
        token = ids[:, :1].repeat(8, 1)
        writing = timed(lambda: model(input_ids=token, past_key_values=cache, use_cache=True), 8)
    print(f"{training:.2f} | {writing:.2f}")


def timed(call, times: int) -> float:
    begun = time.perf_counter()
    for _ in range(times):
        call()
    return (time.perf_counter() - begun) / times


def main(folder: str) -> None:
    print("| other programs | GOMP_SPINCOUNT | training, 2 x 200 tokens | generation, 16 tokens |")
    print("|---:|---|---:|---:|")
    for programs in (0, 1, 2):
        others = [subprocess.Popen([sys.executable, "-c", LOOP]) for _ in range(programs)]
        try:
            for count in ("libgomp's own", "3000"):
                own = {} if count.startswith("libgomp") else {"GOMP_SPINCOUNT": count}
                environment = os.environ | {"OMP_NUM_THREADS": "2"} | own
                command = [sys.executable, __file__, folder, "measure"]
                found = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
                print(f"| {programs} | {count} | {found.stdout.strip()} |", flush=True)
        finally:
            for other in others:
                other.kill()


if __name__ == "__main__":
    measure(sys.argv[1]) if len(sys.argv) > 2 else main(sys.argv[1])
