"""What inspection saw of a model beside its layers: its weights file, its state, its operations, its export."""

from titrant.schema.values.frozen import dataclass


@dataclass(frozen=True)
class LoadedWeights:
    """How a weights file fits its model: where in it the tensors stand, and what was adjusted or left out.

    `prefix` was taken off the file's names, `added` is what only the model's have in front, `wrappers` are parts of
    names that were dropped. `casts` are (dtype in the file, in the model, tensors), `left_out` (key or name, tensors)
    of what is not the model's, `others` keys without tensors. `counters` start at 0, `tied` are held once.
    """

    file: str
    tensors: int
    elements: int
    key: str = ""  # with dots
    prefix: str = ""
    added: str = ""
    wrappers: tuple[str, ...] = ()
    left_out: tuple[tuple[str, int], ...] = ()
    others: tuple[str, ...] = ()
    casts: tuple[tuple[str, str, int], ...] = ()
    counters: int = 0
    tied: int = 0
    shards: int = 0  # 0: one whole file
    values_read: bool = True  # False: names and shapes were compared alone, so far


@dataclass(frozen=True)
class OperationWork:
    """How many operations of one kind run that multiply by no weights, and the bytes and FLOPs of one case."""

    count: int
    read_bytes: int = 0
    written_bytes: int = 0
    flops: int = 0


@dataclass(frozen=True)
class ExportedGraph:
    """What is known beforehand of the graph that modules are exported to, once it is simplified."""

    nodes: int = 0  # constants included, estimated
    multiplications: int = 0  # of activations with one another or with a constant, one by one
    mask_bytes: int = 0  # of causal attention over a fixed number of places
