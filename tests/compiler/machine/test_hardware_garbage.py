"""Detection of machines that answer nonsense: it never raises, and what it cannot know is None."""

from dataclasses import fields

from hypothesis import given
from hypothesis import strategies as st

from titrant.compiler.machine.accelerators import DriverAnswers, GpuAnswers, nvidia, visible
from titrant.compiler.machine.limits import memory_available, memory_total, usable_cores
from titrant.compiler.machine.processor import ARM, X86, parse_cpuinfo, parse_sysctl, processor
from titrant.schema.facts import Gpu
from titrant.schema.values.canonical import canonical_json

# Numbers that digits alone do not make, lines that end too soon, and bytes that are no text.
ODD = st.one_of(
    st.binary(max_size=60),
    st.sampled_from([b"", b"max", b"max 100000", b"-1", b"0", "²".encode(), b"9" * 5000, b"1 2 3", b"\x00", b"1e9"]),
)
LINES = st.lists(
    st.one_of(
        st.sampled_from(
            ["0::/", "0::/a/b", "3:cpu,cpuacct:/x", "4:memory:/..", "0::/" + "n" * 300, "0", "::", "0::/a\x00b"]
        ),
        st.text(max_size=30),
    ),
    max_size=4,
)
FILES = (
    "cpu.max",
    "a/memory.max",
    "memory.stat",
    "a/memory.current",
    "cpu/x/cpu.cfs_quota_us",
    "memory/memory.limit_in_bytes",
)


@given(lines=LINES, meminfo=ODD, contents=st.lists(ODD, min_size=len(FILES), max_size=len(FILES)))
def test_reads_any_control_group(tmp_path_factory, lines, meminfo, contents):
    root = tmp_path_factory.mktemp("root")
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_bytes("\n".join(lines).encode("utf-8", "surrogatepass"))
    (root / "proc/meminfo").write_bytes(b"MemTotal: 8 kB\nMemAvailable: " + meminfo)
    for name, content in zip(FILES, contents, strict=True):
        (root / "sys/fs/cgroup" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "sys/fs/cgroup" / name).write_bytes(content)
    assert usable_cores(root) >= 1
    assert 0 <= memory_total(root) <= 8192
    assert memory_available(root) >= 0


@given(content=st.binary(max_size=300))
def test_reads_any_cpuinfo(tmp_path_factory, content):
    root = tmp_path_factory.mktemp("root")
    (root / "proc").mkdir()
    (root / "proc/cpuinfo").write_bytes(b"flags : avx2\n" + content)
    name, instructions = processor("linux", root)
    assert name
    assert set(instructions) <= {*X86.values(), *ARM.values()}


@given(text=st.text(max_size=300))
def test_reads_any_text_of_cpuinfo_and_sysctl(text):
    for name, instructions in (parse_cpuinfo(text), parse_sysctl(text)):
        assert name
        assert list(instructions) == sorted(instructions)


ANSWERS = st.builds(
    GpuAnswers,
    name=st.none() | st.text(max_size=5),
    uuid=st.none() | st.sampled_from(["GPU-aa", "GPU-ab", "MIG-c"]),
    memory_bytes=st.none() | st.integers(0, 1 << 40),
    capability=st.none() | st.just("9.0"),
    mig=st.none() | st.booleans(),
)
CHOSEN = st.none() | st.text("0129,-GPUMIabc ", max_size=12)


@given(gpus=st.lists(ANSWERS, max_size=3), chosen=CHOSEN)
def test_makes_facts_of_whatever_a_driver_says(gpus, chosen):
    environment = {} if chosen is None else {"CUDA_VISIBLE_DEVICES": chosen}
    found, states = nvidia(DriverAnswers(None, tuple(gpus)), environment)
    assert [gpu.index for gpu in found] == [state.index for state in states] == list(range(len(found)))
    assert canonical_json(found)


A, B = GpuAnswers("a", "GPU-1a", 5), GpuAnswers("b", "GPU-1b", 6)


def test_numbers_gpus_as_cuda_shows_them():
    assert visible([A, B], None) == [A, B]
    assert visible([A, B], "1,0") == [B, A]
    assert visible([A, B], "GPU-1b") == [B]
    assert visible([A, B], "GPU-1") == []  # names two
    assert visible([A, B], "0,7,1") == [A]  # what names none ends the list
    assert visible([A, B], "") == visible([A, B], "-1") == []


def test_lists_one_slice_of_a_divided_gpu():
    slices = (GpuAnswers("a MIG 1g", "MIG-1", 3), GpuAnswers("a MIG 2g", "MIG-2", 4))
    divided = DriverAnswers("580.1", (GpuAnswers("a", "GPU-1", 9, mig=True, slices=slices), B))
    found, _ = nvidia(divided, {})
    assert found == (Gpu(0, "a MIG 1g", "cuda", 3, None, "580.1", True), Gpu(1, "b", "cuda", 6, None, "580.1"))
    chosen, _ = nvidia(divided, {"CUDA_VISIBLE_DEVICES": "MIG-2"})
    assert [gpu.memory_bytes for gpu in chosen] == [4]


def test_keeps_what_moves_apart_from_what_stays():
    answers = GpuAnswers("a", "GPU-1", 9, 4, "9.0", 0.5)
    (gpu,), (state,) = nvidia(DriverAnswers("1", (answers,)), {})
    assert (state.memory_free_bytes, state.utilization) == (4, 0.5)
    assert not {"memory_free_bytes", "utilization"} & {field.name for field in fields(gpu)}
