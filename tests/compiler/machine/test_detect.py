"""Hardware detection: what it finds here, and what it makes of other machines' files."""

import json
import subprocess
import sys
from importlib import metadata

import pytest

from titrant.compiler.machine.detect import detect, installed
from titrant.compiler.machine.limits import disk_free, memory_available, memory_total, usable_cores
from titrant.compiler.machine.processor import parse_cpuinfo, parse_sysctl, processor
from titrant.schema.values.canonical import canonical_json

GIB = 1 << 30


def cgroup(root, lines, **files):
    """Build a root folder with a control group tree; dots in a file's name stand for folders up to the last two."""
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text("\n".join(lines) + "\n")
    (root / "proc/meminfo").write_text(f"MemTotal: {16 << 20} kB\nMemFree: 1 kB\nMemAvailable: {8 << 20} kB\n")
    for name, text in files.items():
        path = root / "sys/fs/cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_describes_this_machine_as_canonical_json():
    found = detect()
    assert found.identity.cores >= 1
    assert found.identity.packages["numpy"] == metadata.version("numpy")
    assert found.source == "detected"
    assert json.loads(canonical_json(found.identity))["system"] == found.identity.system


def test_imports_no_engine_and_starts_no_process():
    """What makes it quick; benchmarks/budgets.py times the commands that begin with it."""
    code = (
        "import sys; from titrant.compiler.machine.detect import detect; started = [];"
        "sys.addaudithook(lambda event, _: event in ('subprocess.Popen', 'os.fork', 'os.posix_spawn', 'os.system')"
        " and started.append(event)); detect();"
        "print(*started, *({'torch', 'onnx', 'onnxruntime', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    told = set(done.stdout.split())
    assert told <= (set() if sys.platform.startswith("linux") else {"subprocess.Popen"})  # elsewhere it asks sysctl


def test_keeps_its_identity_from_one_process_to_the_next():
    code = (
        "from titrant.compiler.machine.detect import detect; "
        "from titrant.schema.values.canonical import canonical_json;"
        "print(canonical_json(detect().identity))"
    )
    answers = {
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=folder).stdout
        for folder in ("/", "/tmp")
    }
    assert len(answers) == 1


def test_reads_the_instruction_sets_that_every_core_has():
    text = (
        "model name\t: Some Xeon\nflags\t\t: fpu avx avx2 avx512f avx512_vnni amx_int8\n\n"
        "model name\t: Some Xeon\nflags\t\t: fpu avx avx2 avx512f avx512_vnni\n"
    )
    assert parse_cpuinfo(text) == ("Some Xeon", ("avx", "avx2", "avx512_vnni", "avx512f"))


def test_reads_an_arm_server_that_prints_no_name():
    text = "processor\t: 0\nFeatures\t: fp asimd asimddp i8mm bf16 sve\nCPU implementer\t: 0x41\nCPU part\t: 0xd40\n"
    assert parse_cpuinfo(text) == ("Arm Neoverse-V1", ("bf16", "dotprod", "i8mm", "neon", "sve"))


def test_reads_an_apple_processor():
    text = (
        "machdep.cpu.brand_string: Apple M2\nhw.optional.AdvSIMD: 1\nhw.optional.arm.FEAT_I8MM: 1\n"
        "hw.optional.arm.FEAT_BF16: 1\nhw.optional.avx2_0: 0\n"
    )
    assert parse_sysctl(text) == ("Apple M2", ("bf16", "i8mm", "neon"))


def test_says_unknown_when_the_kernel_shows_nothing(tmp_path):
    assert processor("linux", tmp_path) == ("unknown", ())


@pytest.mark.parametrize(
    ("lines", "files"),
    [
        (["0::/job"], {"cpu.max": "max 100000\n", "job/cpu.max": "100000 100000\n"}),
        (["3:cpu,cpuacct:/job"], {"cpu,cpuacct/x": "", "cpu/job/cpu.cfs_quota_us": "150000\n",
                                  "cpu/job/cpu.cfs_period_us": "100000\n"}),
        (["0::/not/mounted/here"], {"cpu.max": "50000 100000\n"}),
    ],
)  # fmt: skip
def test_cuts_cores_to_the_quota(tmp_path, lines, files):
    assert usable_cores(cgroup(tmp_path, lines, **files)) == 1


def test_leaves_cores_alone_without_a_quota(tmp_path):
    free = cgroup(tmp_path, ["0::/"], **{"cpu.max": "max 100000\n"})
    assert usable_cores(free) == usable_cores(tmp_path / "nothing")


def test_takes_the_tightest_memory_limit_of_the_group_and_those_above(tmp_path):
    root = cgroup(
        tmp_path,
        ["0::/a/b"],
        **{"a/memory.max": f"{4 * GIB}\n", "a/memory.current": f"{3 * GIB}\n",
           "a/memory.stat": f"inactive_file {GIB}\n", "a/b/memory.max": "max\n", "a/b/memory.current": f"{GIB}\n"},
    )  # fmt: skip
    assert memory_total(root) == 4 * GIB
    assert memory_available(root) == 2 * GIB


def test_reads_version_one_and_its_way_of_writing_no_limit(tmp_path):
    root = cgroup(
        tmp_path,
        ["4:memory:/job"],
        **{"memory/memory.limit_in_bytes": "9223372036854771712\n", "memory/memory.usage_in_bytes": "5\n",
           "memory/job/memory.limit_in_bytes": f"{GIB}\n", "memory/job/memory.usage_in_bytes": f"{2 * GIB}\n"},
    )  # fmt: skip
    assert memory_total(root) == GIB
    assert memory_available(root) == 0


def test_measures_the_disk_of_a_folder_that_does_not_exist_yet(tmp_path):
    assert disk_free(tmp_path / "not" / "yet") > 0


def test_lists_only_what_is_installed():
    assert installed(("numpy", "no-such-library")) == {"numpy": metadata.version("numpy")}
