"""Run one notebook headless: ``python -m brainalign_utils.execute NOTEBOOK.py OUT.ipynb -p name value``.

The output appears under its name only if every cell ended well; a failed run is kept beside it as
``OUT.failed.ipynb`` and the exit status is 1.  Two processes never make the same output at the same time:
the second waits.

``--run OUT.ipynb name=value ...``, given several times, runs the notebook once for each, in one kernel that
is cleared in between: short jobs spend most of their time on starting Python and importing.  ``--run OTHER.py
OUT.ipynb ...`` runs another notebook there.
"""

import argparse
import ast
import logging
import os
import re
import resource
import shutil
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

OPTIONAL = ("boto3", "jupyter_server", "pyarrow", "rfc3987_syntax")
"""What papermill, jupytext and jsonschema import where it is there: for notebooks in clouds, for JupyterLab,
for a grammar of web addresses.  A job needs none of them, and they take longer than all the rest."""


@contextmanager
def _hidden(names):
    """Libraries that were not imported yet cannot be, meanwhile."""
    names = [name for name in names if name not in sys.modules]
    sys.modules.update(dict.fromkeys(names))
    try:
        yield
    finally:
        for name in names:
            del sys.modules[name]


with _hidden(OPTIONAL):
    import jupytext
    import nbformat
    import papermill
import psutil
import yaml
from jupyter_client import KernelManager
from nbclient.exceptions import DeadKernelError
from papermill.exceptions import PapermillExecutionError
from traitlets.config import Config

from . import BrainalignError, dependencies, provenance
from .locks import alone
from .settings import SettingsError, load_settings, project_root

IOPUB_SECONDS = 300
"""Output of a cell may lag that far behind its end; papermill's 4 s are too few on a full machine."""

SECONDS_BETWEEN_STEPS = 30
"""In a log, a progress bar is a line at each step that is shown."""


class ParameterError(BrainalignError):
    """A parameter that the notebook does not declare."""


def declared_parameters(notebook) -> dict:
    """Names and values assigned in the cell tagged ``parameters``."""
    cells = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    if len(cells) != 1:
        raise ParameterError(f"expected one cell tagged 'parameters', found {len(cells)}")
    assigned = [node for node in ast.parse(cells[0].source).body if isinstance(node, ast.Assign)]
    return {node.targets[0].id: ast.literal_eval(node.value) for node in assigned}


def execute(source: Path, target: Path, parameters: dict, cwd: Path | None = None, kernel=None) -> None:
    """Execute a py:percent notebook with parameters; print its name and seconds when it is done.

    Parameters
    ----------
    source, target : Path
        The notebook as text, and its executed copy.
    parameters : dict
        Values for the cell tagged ``parameters``.
    cwd : Path, optional
        Working folder of the kernel; the project's root by default.
    kernel : jupyter_client.KernelManager, optional
        A running kernel to use and leave running; by default one is started for this notebook.

    Raises
    ------
    ParameterError, SettingsError
        A parameter is not declared by the notebook, or the settings cannot be used; nothing is run.
    papermill.exceptions.PapermillExecutionError, nbclient.exceptions.DeadKernelError
        A cell raised, or the kernel was killed; what ran is kept as ``*.failed.ipynb``.
    """
    source, target = Path(source), Path(target)
    notebook = jupytext.read(source)
    notebook.metadata["kernelspec"] = {
        "name": "python3",
        "display_name": "Python 3 (ipykernel)",
        "language": "python",
    }
    notebook.metadata["language_info"] = {"name": "python"}
    known = declared_parameters(notebook)
    if unknown := sorted(set(parameters) - set(known)):
        raise ParameterError(
            f"{source.name} has no parameter {', '.join(unknown)}; it has: {', '.join(sorted(known))}"
        )
    cwd = cwd or project_root()
    failed = target.with_suffix(".failed.ipynb")
    with alone(target), _partial_folder(target) as folder:
        plain, running = folder / "source.ipynb", folder / "running.ipynb"
        nbformat.write(notebook, plain)
        inputs = _input_hashes(source, known | parameters, cwd)
        start, used = time.perf_counter(), _cpu_time(kernel)
        try:
            with tempfile.TemporaryDirectory(prefix="brainalign-") as sockets:
                papermill.execute_notebook(
                    plain,
                    running,
                    parameters,
                    cwd=str(cwd),
                    kernel_name="python3",
                    progress_bar=False,
                    iopub_timeout=IOPUB_SECONDS,
                    **({"km": kernel} if kernel else _own_kernel(sockets)),
                )
        except (PapermillExecutionError, DeadKernelError) as error:
            running.replace(failed)
            error.add_note(f"{source.name} failed; what ran is kept as {failed}")
            raise
        peak = kernel_peak_memory(kernel) if kernel else provenance.peak_memory(children=True)
        facts = {
            "notebook": source.name,
            "parameters": parameters,
            "inputs": inputs,
            "wall_time_s": round(time.perf_counter() - start, 1),
            "cpu_time_s": round(_cpu_time(kernel) - used, 1),
            "peak_memory_bytes": peak,
        }
        _record(running, project_root(), facts)
        running.replace(target)
        failed.unlink(missing_ok=True)
    clear = "\r\033[K" if sys.stdout.isatty() else ""  # of the last bar
    print(f"{clear}{target.parent.name}/{target.stem}: {facts['wall_time_s']} s", flush=True)


def _own_kernel(sockets) -> dict:
    """Arguments for a kernel that runs one notebook, whose progress is seen meanwhile."""
    return {"config": _local_sockets(sockets), "stderr_file": ProgressBars(sys.stderr)}


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
        bars = [bar for bar in re.findall(r"\r([^\r\n]+)", text) if "%|" in bar]
        if bars and self.stream.isatty():
            self.stream.write(f"\r\033[K{bars[-1]}")
        elif bars:
            self.stream.write(f"{bars[-1]}\n")

    def flush(self):
        self.stream.flush()


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


def execute_each(runs: list[tuple[Path, Path, dict]], cwd: Path | None = None) -> None:
    """Execute notebooks one after the other in one kernel, which is cleared in between.

    Parameters
    ----------
    runs : list of (source, target, parameters)
        As for :func:`execute`.
    cwd : Path, optional

    Raises
    ------
    ParameterError, papermill.exceptions.PapermillExecutionError
        As :func:`execute`; what was executed before stays.
    """
    cwd = cwd or project_root()
    with tempfile.TemporaryDirectory(prefix="brainalign-") as sockets:
        kernel = KernelManager(config=_local_sockets(sockets), kernel_name="python3")
        kernel.start_kernel(cwd=str(cwd))
        try:
            for source, target, parameters in runs:
                execute(source, target, parameters, cwd, kernel)
                client = kernel.blocking_client()
                client.start_channels()
                client.wait_for_ready(timeout=60)
                client.execute_interactive(_CLEAR, silent=True)
                client.stop_channels()
        finally:
            kernel.shutdown_kernel(now=True)


_CLEAR = """
get_ipython().reset(new_session=True)  # counts cells from 1 again
import sys, gc
if "matplotlib.pyplot" in sys.modules:
    sys.modules["matplotlib.pyplot"].close("all")
gc.collect()
get_ipython().run_line_magic("reset", "-f")
"""


def kernel_peak_memory(kernel) -> int | None:
    """Largest resident memory of a running kernel so far, in bytes; None where the system does not tell."""
    status = Path(f"/proc/{kernel.provisioner.pid}/status")
    if not status.is_file():
        return None
    line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return 1024 * int(line.split()[1])


def _local_sockets(folder: str) -> Config:
    """Notebook and kernel talk through files that only this user can open, not through network ports."""
    return Config({"KernelManager": {"transport": "ipc", "ip": f"{folder}/kernel"}})


def _cpu_time(kernel=None) -> float:
    """Processor seconds so far: of a running kernel and its ended children, or of all ended kernels."""
    if kernel:
        return sum(psutil.Process(kernel.provisioner.pid).cpu_times()[:4])
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _input_hashes(source, parameters, cwd):
    file = parameters.get("settings_file")
    return dependencies.input_hashes(source, load_settings(_seen_from(cwd, file)) if file else None)


def _seen_from(folder: Path, file) -> Path:
    """The file as a kernel in that folder finds it: there, else where :func:`load_settings` looks."""
    return folder / file if (folder / file).is_file() else Path(file)


def _record(path, root, facts):
    """Store what the page says about its making in the notebook's metadata."""
    notebook = nbformat.read(path, as_version=4)
    notebook.metadata["brainalign"] = provenance.record(root) | facts
    notebook.metadata.pop("papermill", None)
    nbformat.write(notebook, path)


def _values(pairs) -> dict:
    return {name: yaml.safe_load(value) for name, value in pairs}


def _run(words: list[str], source: Path, shared: dict) -> tuple[Path, Path, dict]:
    """One ``--run`` of the command line."""
    if words[0].endswith(".py"):
        source, *words = words
    target, *own = words
    return Path(source), Path(target), shared | _values(pair.split("=", 1) for pair in own)


def main(arguments=None) -> int:
    """Command line; 0 when every cell ended well."""
    parser = argparse.ArgumentParser(prog="python -m brainalign_utils.execute", description=__doc__)
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path, nargs="?", help="executed copy; left out with --run")
    parser.add_argument("-p", "--parameter", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"))
    parser.add_argument(
        "--run", nargs="+", action="append", default=[], metavar=("TARGET", "NAME=VALUE"),
        help="one of several runs in one kernel, with parameters of its own; in front maybe another notebook",
    )  # fmt: skip
    options = parser.parse_args(arguments)
    if (options.target is None) == (not options.run):
        parser.error("give either a target or --run TARGET NAME=VALUE ...")
    logging.getLogger("papermill").setLevel(logging.WARNING)
    if not sys.stderr.isatty():
        os.environ.setdefault("TQDM_MININTERVAL", str(SECONDS_BETWEEN_STEPS))
    parameters = _values(options.parameter)
    try:
        if options.run:
            execute_each([_run(words, options.source, parameters) for words in options.run])
        else:
            execute(options.source, options.target, parameters)
    except (ParameterError, SettingsError) as error:
        message = f"{options.source.name}: {error}"
    except PapermillExecutionError as error:
        message = "\n".join([str(error), *error.__notes__])
    except DeadKernelError as error:
        message = "; ".join(error.__notes__) + (
            ". Its kernel was killed, most often for want of memory. Run the same command again, with more "
            "memory if need be"
        )
    else:
        return 0
    print(message, file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
