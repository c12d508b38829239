"""A signal ends a command in one line and exit 130, at whatever moment it comes."""

import os
import signal
import subprocess
import sys

import pytest

# The signal comes while a module is looked for: neither earlier nor later, however fast the machine is.
CODE = """
import os, sys
from titrant.cli.main import entry

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "{module}":
            sys.meta_path.remove(self)
            os.kill(os.getpid(), {number})

sys.meta_path.insert(0, Finder())
sys.argv = ["titrant", *{arguments!r}]
entry()
"""
SAID = "interrupted; run the same command again to go on\n"


def ended(tmp_path, module, number, *arguments):
    code = f"import signal\nsignal.signal({int(number)}, signal.SIG_DFL)\n"  # whatever who runs the tests ignores
    code += CODE.format(module=module, number=int(number), arguments=arguments)
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "TITRANT_HOME": str(tmp_path / "home")},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("module", ["titrant.cli.console", "argparse", "titrant.cli.check"])
def test_ends_in_one_line_while_a_command_is_still_being_loaded(tmp_path, module):
    done = ended(tmp_path, module, signal.SIGINT, "check", "recipe.yaml")
    assert (done.returncode, done.stdout, done.stderr) == (130, "", SAID)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_answers_every_signal_that_asks_for_the_end(tmp_path, number):
    done = ended(tmp_path, "argparse", number, "--help")
    assert (done.returncode, done.stdout, done.stderr) == (130, "", SAID)


@pytest.mark.parametrize(
    "module", ["pydantic_core", "pydantic._internal._generate_schema", "titrant.schema.language.shape"]
)
def test_lets_no_library_take_the_signal_for_a_failure(tmp_path, module):
    """The verb has begun: it is interrupted behind the import, unless it has come to its end by then."""
    (tmp_path / "recipe.yaml").write_text("titrant: 1\nname: x\n")
    done = ended(tmp_path, module, signal.SIGINT, "check", "recipe.yaml")
    assert "Traceback" not in done.stderr
    assert "defect" not in done.stderr
    assert done.returncode == 2 or (done.returncode == 130 and done.stderr.endswith(SAID))


def test_goes_on_where_the_signal_is_to_be_ignored(tmp_path):
    code = "import signal\nsignal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
    code += CODE.format(module="argparse", number=int(signal.SIGHUP), arguments=["--version"])
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout[:8]) == (0, "titrant ")
