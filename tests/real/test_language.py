"""A language model with published weights, judged by its perplexity."""

import runpy
from pathlib import Path

import pytest

pytestmark = [pytest.mark.real, pytest.mark.slow]

STORIES = """\
titrant: 1
name: stories
level: minimal
task: language_modeling
model: {{factory: "stories:Stories", args: {{file: {data}/stories260K/stories260K.bin}}, weights: included}}
data:
  source: {{factory: "stories:load", args: {{folder: {data}/stories260K}}}}
  inputs: [tokens]
  label: following
  split: {{calibration: {{drawn: 0.3}}, tuning: {{drawn: 0.7}}, evaluation: told}}
quantization: {{method: ort.dynamic}}
validation: {{retention: 0.9, gates: [{{metric: token_agreement, comparison: at_least, threshold: 0.8}}]}}
profile: {{batches: [1], iterations: 2, warmup: 0}}
export: [{{format: onnx}}]
"""


def test_reads_stories_as_their_own_tokenizer_does(data):
    from titrant.runtime.data.text.documents import read_text
    from titrant.runtime.data.text.tokenizers import of_file

    folder = Path(data) / "stories260K"
    own = runpy.run_path(str(Path(__file__).parent / "modules" / "stories.py"))["tokens_of"]
    stories = read_text(str(folder / "tinystories_sample.txt"), separator="<|endoftext|>").columns["text"].tolist()
    tokenizer = of_file((folder / "tok512.bin").read_bytes(), ".bin", "tok512.bin")
    assert len(stories) == 5
    for story in (*stories, "é 😀\n", "  two"):
        assert tokenizer.encode(story).tolist() == [1, *own(story, str(folder / "tok512.bin"))]
    assert tokenizer.encode("").tolist() == [1]


def test_quantizes_a_llama_that_writes_stories(execute, data):
    done = execute(STORIES.format(data=data))
    retention = done.gate("ort.dynamic", "retention")
    # 1.266 nats a token over 1,804 tokens of five stories.
    assert retention["original"] == pytest.approx(3.548, abs=0.002)
    assert retention["cases"] == 5
    assert retention["estimate"] > 0.97
    # Five stories prove nothing, whatever they show.
    assert retention["verdict"] == "INCONCLUSIVE"
    assert done.gate("ort.dynamic", "token_agreement.all.at_least")["estimate"] > 0.9
    assert done.gate("ort.dynamic", "reference")["estimate"] > 3
    assert done.code == 0, done.printed
