"""Codes X300-X399: running, storing and reporting."""

from titrant.schema.codes import Code

CODES: tuple[Code, ...] = (
    Code(
        "X300",
        "the home cannot be written",
        "titrant keeps its store, results and runs in .titrant beside the current folder, or in $TITRANT_HOME. That "
        "folder is on a read-only disk, or belongs to somebody else.",
        "cd /usr/share/project && titrant run x.yaml",
        "TITRANT_HOME=~/titrant titrant run x.yaml",
    ),
    Code(
        "X301",
        "the home is not a folder",
        "Something else than a folder, such as a file, stands where $TITRANT_HOME (or .titrant) is to be.",
        "TITRANT_HOME=notes.txt titrant run x.yaml",
        "TITRANT_HOME=~/titrant titrant run x.yaml",
    ),
    Code(
        "X302",
        "the disk is full",
        "What was being written did not fit. Files appear in the store only when they are whole, so everything stored "
        "before is intact, and the steps that finished are reused by the next run.",
        "titrant run x.yaml   (with no space left below .titrant)",
        "free some space, then: titrant run x.yaml",
    ),
    Code(
        "X310",
        "the worker died",
        "The process that runs the steps ended in the middle of one: native code crashed (a signal such as SIGSEGV), "
        "or code in the step ended the process. The step's log holds what was printed. Other candidates go on in a new "
        "process.",
        "def make_rows():\n    os._exit(1)",
        "def make_rows():\n    raise ValueError('no rows for this site')",
    ),
    Code(
        "X311",
        "out of memory",
        "The system killed the process that runs the steps (SIGKILL), nearly always because memory ran out, or an "
        "allocation was refused. Finished steps are kept.",
        "train: {batch_size: 65536}",
        "train: {batch_size: 64}",
    ),
    Code(
        "X312",
        "the recipe's own code raised",
        "A model, data factory or operator of the user's raised an exception. The message names it and the innermost "
        "line of the user's code; the whole traceback is in the step's log.",
        "def make_rows():\n    return table[missing]",
        "def make_rows():\n    return table[present]",
    ),
    Code(
        "X313",
        "a step raised",
        "A library, or titrant's own operator, raised an exception that nobody foresaw. The whole traceback is in the "
        "step's log. In a search this rejects the candidate only.",
    ),
    Code(
        "X314",
        "an operator cannot be loaded",
        "A reference `module:name` must lead to a function that titrant's @operator declares, in a module of the "
        "recipe's folder or of the installed environment.",
        "quantization: {method: 'my_methods:prune'}   (my_methods.py has no prune)",
        "@operator('my.prune', version=1, …)\ndef prune(params, context, *, model): …",
    ),
    Code(
        "X315",
        "an operator gave other outputs than it declares",
        "What an operator returns must be a mapping with exactly one value for each declared output.",
        "@operator(…, outputs={'model': 'torch'})\ndef prune(…):\n    return model",
        "@operator(…, outputs={'model': 'torch'})\ndef prune(…):\n    return {'model': model}",
    ),
    Code(
        "X316",
        "an operator cannot say what it needs or costs",
        "While a plan is made a user's operator is asked its own `requires` and `predict`, where it declares them. "
        "They must take the options that the recipe sets, and answer with a tuple of sentences and with a Prediction.",
        "def predict(params, hardware, model, work):\n    return 12.5",
        "def predict(params, hardware, model, work):\n    return titrant.Prediction(seconds=12.5)",
    ),
    Code(
        "X320",
        "stored files keep being damaged",
        "What is damaged in the store is made again, but the files do not stay as they were written: the disk fails, "
        "or another program writes below the store.",
    ),
    Code(
        "X330",
        "no candidate could be made",
        "Every candidate of a search failed while it was made; the message gives the reason of each. Nothing is "
        "released.",
        "quantization: {method: ort.static}   (no calibration rows)",
        "data: {split: {train: 0.5, tuning: 0.1, calibration: 0.1, evaluation: 0.3}}",
    ),
    Code(
        "X331",
        "no candidate of a recorded choice is left",
        "A rerun judges the candidates that the recorded run judged, and a locked run those of the lock. None of them "
        "could be made and timed here; the steps that failed are named above. A rerun with --redecide, or a run "
        "without --locked, chooses from what can be made.",
        "titrant rerun RUN   (on a machine without the engine of every recorded candidate)",
        "titrant rerun RUN --redecide",
    ),
    Code(
        "X340",
        "there is no released model",
        "titrant.load takes the folder of a run that released a model, or its outputs folder. A run that did not keep "
        "its contract has released none.",
        "titrant.load('.titrant/runs/20260101T120000Z-x-1234abcd')   (a run with exit code 5)",
        "titrant.load('.titrant/runs/20260102T120000Z-x-5678abcd')",
    ),
    Code(
        "X341",
        "a released file is damaged",
        "A file of the outputs folder does not have the digest that it was released with, or is gone. It is not used.",
    ),
    Code(
        "X342",
        "the released model cannot be given this",
        "A released model takes the raw columns that its data source had: a DataFrame, a mapping of column name to "
        "array, or one array where the model has a single input.",
        "model([1, 2, 3])",
        "model({'mean radius': [12.1, 15.0], …})",
    ),
    Code(
        "X350",
        "a file changed after the plan was made",
        "A step is given a file whose content is part of its key. The content is no longer what the plan was made "
        "with, so the result would be recorded under a wrong key.",
        "titrant plan x.yaml --out p.json; python retrain.py; titrant run p.json",
        "python retrain.py; titrant run x.yaml",
    ),
    Code(
        "X360",
        "the run's time is up",
        "`titrant run --max-minutes` ended the run before any candidate was judged: nothing is released, and the "
        "original is the model to keep. Finished steps are kept, so the next run goes on where this one ended.",
        "titrant run x.yaml --max-minutes 1",
        "titrant run x.yaml --max-minutes 10",
    ),
)
