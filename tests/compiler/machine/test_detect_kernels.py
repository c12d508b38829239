"""What makes libraries compute with other kernels is part of the machine: nothing made otherwise passes for its own."""

from titrant.compiler.machine.detect import KERNEL_VARIABLES, detect_identity, kernel_variables


def test_names_what_is_set_to_something():
    assert list(KERNEL_VARIABLES) == sorted(KERNEL_VARIABLES)
    given = {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "default", "MKL_CBWR": "", "OMP_NUM_THREADS": "2"}
    assert kernel_variables(given) == ("ATEN_CPU_CAPABILITY=default", "ONEDNN_MAX_CPU_ISA=AVX2")


def test_makes_another_machine_of_this_one(monkeypatch):
    for name in KERNEL_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    plain = detect_identity()
    monkeypatch.setenv("ATEN_CPU_CAPABILITY", "default")
    assert detect_identity().instructions == (*plain.instructions, "ATEN_CPU_CAPABILITY=default")
