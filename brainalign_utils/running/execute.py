"""Run one notebook headless::

    python -m brainalign_utils.running.execute NOTEBOOK.py OUT.ipynb -p NAME VALUE ...

Papermill executes it, in the interpreter that runs this command.  The output appears under its name only if
every cell ended well; a failed run is kept beside it as ``OUT.failed.ipynb`` and the exit status is 1.  Two
processes never make the same output at the same time: the second waits.
"""

import argparse
import ast
import builtins
import logging
import os
import resource
import shutil
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import jupytext
import nbformat
import papermill
import yaml
from ipykernel.kernelspec import get_kernel_dict
from jupyter_client import AsyncKernelManager
from jupyter_client.kernelspec import KernelSpec
from nbclient.exceptions import DeadKernelError
from papermill.exceptions import PapermillExecutionError
from traitlets.config import Config

from .. import BrainalignError
from ..artifacts import alone, peak_memory, record
from ..registry import input_hashes
from ..settings import load_settings, project_root

IOPUB_SECONDS = 300
"""Output of a cell may lag that far behind its end; papermill's 4 s are too few on a full machine."""

SECONDS_BETWEEN_STEPS = 30
"""In a log, a progress bar is a line at each step that is shown."""

LONGEST_SOCKET_FOLDER = 80
"""Bytes; the path of a socket may have about 100."""


class ParameterError(BrainalignError):
    """A parameter that the notebook does not declare."""


def declared_parameters(notebook) -> dict:
    """Names and values assigned in the cell tagged ``parameters``."""
    cells = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    if len(cells) != 1:
        raise ParameterError(f"expected one cell tagged 'parameters', found {len(cells)}")
    found = {}
    for node in ast.parse(cells[0].source).body:
        if isinstance(node, ast.Assign | ast.AnnAssign):
            target = node.target if isinstance(node, ast.AnnAssign) else node.targets[0]
            found[target.id] = ast.literal_eval(node.value)
    return found


def execute(source: Path, target: Path, parameters: dict, cwd: Path | None = None) -> None:
    """Execute a py:percent notebook with parameters; print its name and seconds when it is done.

    Parameters
    ----------
    source, target : Path
        The notebook as text, and its executed copy.
    parameters : dict
        Values for the cell tagged ``parameters``.
    cwd : Path, optional
        Working folder of the kernel; the project's root by default.

    Raises
    ------
    ParameterError, SettingsError
        A parameter is not declared by the notebook, or the settings cannot be used; nothing is run.
    papermill.exceptions.PapermillExecutionError, nbclient.exceptions.DeadKernelError
        A cell raised, or the kernel was killed; what ran is kept as ``*.failed.ipynb``.
    """
    source, target, cwd = Path(source), Path(target), cwd or project_root()
    notebook = jupytext.read(source)
    known = declared_parameters(notebook)
    if unknown := sorted(set(parameters) - set(known)):
        raise ParameterError(f"no parameter {', '.join(unknown)}; there are: {', '.join(known)}")
    failed = target.with_suffix(".failed.ipynb")
    with alone(target), _partial_folder(target) as folder, _kernel_options() as options:
        running = folder / "running.ipynb"
        inputs = _input_hashes(source, known | parameters, cwd)
        start = time.perf_counter()
        try:
            papermill.execute_notebook(
                notebook,
                str(running).replace("{", "{{").replace("}", "}}"),  # papermill fills in parameters there
                parameters,
                cwd=cwd,
                kernel_name="python3",
                language="python",
                progress_bar=False,
                stderr_file=ProgressBars(sys.stderr),
                iopub_timeout=IOPUB_SECONDS,
                **options,
            )
        except (PapermillExecutionError, DeadKernelError) as error:
            running.replace(failed)
            error.add_note(f"what ran is kept as {failed}")
            raise
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        facts = {
            "notebook": source.name,
            "parameters": parameters,
            "inputs": inputs,
            "wall_time_s": round(time.perf_counter() - start, 1),
            "cpu_time_s": round(used.ru_utime + used.ru_stime, 1),
            "peak_memory_bytes": peak_memory(children=True),
        }
        _record(running, facts)
        running.replace(target)
        failed.unlink(missing_ok=True)
    clear = "\r\033[K" if sys.stdout.isatty() else ""  # of the last bar
    print(f"{clear}{target.parent.name}/{target.stem}: {facts['wall_time_s']} s", flush=True)


@contextmanager
def _partial_folder(target: Path):
    """An empty folder beside the target, on the same file system; what a killed run left there goes."""
    folder = target.with_name(f".{target.name}.partial")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _kernel_options():
    """Options for a kernel of this interpreter, whatever kernels and IPython profiles the user has.

    Notebook and kernel talk through sockets that only this user can open, or through ports where the path of
    a socket would be too long.
    """
    with tempfile.TemporaryDirectory(prefix="brainalign-") as folder:
        environment = {"IPYTHONDIR": folder, "PYTHONSTARTUP": ""}

        class OwnKernel(AsyncKernelManager):
            kernel_spec = KernelSpec(env=environment, **get_kernel_dict())

        short = len(os.fsencode(folder)) <= LONGEST_SOCKET_FOLDER
        sockets = {"transport": "ipc", "ip": f"{folder}/kernel"} if short else {}
        yield {"kernel_manager_class": OwnKernel, "config": Config({"KernelManager": sockets})}


class ProgressBars:
    """Passes on the progress bars among what a kernel writes to its standard error, and nothing else.

    Parameters
    ----------
    stream : text file
        On a terminal bars replace each other, elsewhere each state is a line.
    """

    def __init__(self, stream):
        self.stream = stream

    def write(self, text: str):
        bar = text.rpartition("\r")[2].splitlines() if "\r" in text else []
        if bar and bar[0].strip():
            self.stream.write(f"\r\033[K{bar[0]}" if self.stream.isatty() else f"{bar[0]}\n")

    def flush(self):
        self.stream.flush()


def _input_hashes(source, parameters, cwd):
    file = parameters.get("settings_file")
    if file and (cwd / file).is_file():  # as the kernel finds it; else where load_settings looks
        file = cwd / file
    return input_hashes(source, load_settings(file) if file else None)


def _record(path, facts):
    """Store what the page says about its making in the notebook's metadata, beside its registry entry."""
    notebook = nbformat.read(path, as_version=4)
    made = record(project_root()) | facts
    notebook.metadata["brainalign"] = {**notebook.metadata.get("brainalign", {}), **made}
    notebook.metadata.pop("papermill", None)
    nbformat.write(notebook, path)


def _value(name, text):
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        raise ParameterError(f"{name} is {text!r}, no valid YAML; close its brackets and quotes") from None


def main(arguments=None) -> int:
    """Command line; 0 when every cell ended well."""
    parser = argparse.ArgumentParser(prog="python -m brainalign_utils.running.execute", description=__doc__)
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path, help="executed copy")
    parser.add_argument("-p", "--parameter", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"))
    options = parser.parse_args(arguments)
    logging.getLogger("papermill").setLevel(logging.WARNING)
    if not sys.stderr.isatty():
        os.environ.setdefault("TQDM_MININTERVAL", str(SECONDS_BETWEEN_STEPS))
    try:
        execute(options.source, options.target, {k: _value(k, v) for k, v in options.parameter})
    except (OSError, BrainalignError) as error:  # a file, a parameter, the settings
        message = f"{error}"
    except PapermillExecutionError as error:
        trace = f"{error}\n" if hasattr(builtins, error.ename) else ""  # an error of ours is a sentence
        message = f"{trace}{error.ename}: {error.evalue} ({error.__notes__[0]})"
    except DeadKernelError as error:
        message = (
            "the kernel was killed, most often for want of memory; run the same command again, with more "
            f"memory if need be ({error.__notes__[0]})"
        )
    else:
        return 0
    print(f"{options.source.name}: {message}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
