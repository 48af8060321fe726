"""vLLM's own server of a model, in a process of its own, for tests."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request

KEY = "a-key-that-must-not-be-seen"


class Server:
    """vLLM's own server of the model, on a port of its own."""

    def __init__(self, model, log):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.model, self.log, self.process = model, log, None

    def start(self):
        served = ["--model", str(self.model), "--served-model-name", self.model.name]
        options = f"--host 127.0.0.1 --port {self.port} --dtype float32 --max-model-len 2048 --enforce-eager"
        environment = {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_CPU_OMP_THREADS_BIND": "0-1", **os.environ}
        environment |= {"VLLM_CPU_NUM_OF_RESERVED_CPU": "0", "VLLM_ENABLE_V1_MULTIPROCESSING": "1"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "vllm.entrypoints.openai.api_server", *served, *options.split(), "--api-key", KEY],
            stdout=self.log,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
        )

    def wait(self):
        while self.process.poll() is None:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health", timeout=1)
            except OSError:
                time.sleep(1)
            else:
                return
        raise RuntimeError("the server did not start")

    def kill(self):
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
