"""What `metareward plan` prints of memory and disk."""

from collections.abc import Iterator

from metareward.params import Params


def memory_lines(params: Params, gpus: int) -> Iterator[str]:
    """A table of what training takes of a GPU, and lines for generation and disk; gpus: side by side, at least."""
    from rich.console import Console
    from rich.table import Table

    from metareward.pipeline.fit import disk_lines, generation_line, seed_shape, training_processes, training_rows

    shape, where = seed_shape(params)
    if shape is None:
        yield f"memory: not known, since {where}"
        return
    processes = max(training_processes(params), gpus)
    table = Table(title="Training: GB of one GPU. *: as params say. all or divided: weights, gradients, states")
    for heading in ("stage", "held", "gradient_checkpointing"):
        table.add_column(heading)
    for heading in ("weights", "gradients", "optimizer", "activations", "sum"):
        table.add_column(heading, justify="right")
    for row in training_rows(params, shape, processes):
        table.add_row(*row)
    Console(width=max(120, Console().width)).print(table)
    yield (
        f"{shape.parameters:,} parameters ({where}); activations are an estimate; the reference of DPO takes no "
        "memory of its own"
    )
    if line := generation_line(params, shape):
        yield line
    yield from disk_lines(params, shape)
