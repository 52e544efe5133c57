"""What a hurried user types by mistake: each command ends in one sentence that says what to do, no traceback.

The commands run as a user runs them, so that the tables outlive changes of structure.
"""

import re

import pytest

from brainalign_utils import cli

REAL = "data: nsd\n"
SETTINGS = [
    ("", "holds nothing; expected lines such as `name: my_study`"),
    ("# name: mine\n", "holds nothing"),
    ("- vit-h\n", "holds a list; expected lines such as"),
    ("name:mine", "holds a text; expected lines such as"),
    ("name: mine\nmodels:[vit-h]\n", "line 3: could not find expected ':'; check colons"),
    (
        "encoding:\n\tn_folds: 3",
        "line 2: found character .* that cannot start any token; indent with",
    ),
    ("name: [mine", "line 1: .* but got '<stream end>'; check colons, indentation and brackets"),
    (b"name: \xe9tude", "invalid continuation byte; save it as UTF-8"),
    ("name: !!python/object/apply:os.system ['true']", "could not determine a constructor"),
    ("encoding: {n_folds: 3}\nname: a\nencoding: {n_alphas: 2}", "encoding stands in line 1 and in line 3"),
    (
        "encoding:\n  n_folds: 3\n  n_alphas: 4\n  n_folds: 4",
        "n_folds stands in line 2 and in line 4",
    ),
    ("n_sessions: 037", "line 1: 037 could be octal; write 37"),
    ("subjects: [01, 02]", "line 1: 01 could be octal; write 1"),
    ("n_sessions: 1:30", "n_sessions: expected a whole number .*'1:30'"),
    ("n_sessions: 0o17", "n_sessions: expected a whole number .*'0o17'"),
    ("n_sessions: true", "n_sessions: expected a whole number .*'true'"),
    ("n_sessions: yes", "n_sessions: expected a whole number .*'yes'"),
    ("n_sessions: all", "n_sessions: expected a whole number .*'all'"),
    ("n_sessions: 2.5", "n_sessions: expected a whole number .*2.5"),
    ("n_sessions: -1", "n_sessions: should be greater than or equal to 1 .*-1"),
    ("stats: {alpha: 5%}", "stats.alpha: expected a number .*'5%'"),
    (
        "encoding: {log10_alpha_min: .nan}",
        "encoding.log10_alpha_min: .* 12 .*nan",
    ),
    ("encoding: {log10_alpha_max: .inf}", "encoding.log10_alpha_max: .* 12 .*inf"),
    ("encoding: {fit_intercept: maybe}", "encoding.fit_intercept: expected true or false .*'maybe'"),
    ("encoding: {device: gpu}", "encoding.device: expected auto, cpu, cuda or cuda:N .*'gpu'"),
    ("features: {batch_size: 0}", "features.batch_size: expected 'auto', or .* 1 .*0"),
    ("features: {image_size: 300}", "features.image_size: expected 'native' or 227 .*300"),
    ("data: NSD", "data: expected 'phantom' or 'nsd' .*'NSD'"),
    ("name: my study", "name: names a folder: .*; write my_study .*'my study'"),
    ("name: 2026", 'name: expected text; write "2026" in quotes'),
    ("name: ..", "name: names a folder: .*; write my_study"),
    (f"name: {'x' * 200}", "name: names a folder: at most 100"),
    ("subjects:", "subjects: has no value; write one, or delete the line"),
    ("subjects: subj01", r"subjects: expected a list; write \[subj01\]"),
    ("subjects: [subj09]", "subject subj09 does not exist; NSD has subjects 1 to 8"),
    ("subjects: [1, subj01]", "subjects: 1 named twice; name each once"),
    ("instructions: [IC]", "IC has no other instruction to be compared with; name at least two"),
    ("instructions: [IC, ic]", "unknown instruction 'ic'; did you mean 'IC'?"),
    ("instructions: IC", r"instructions: expected a list; write \[IC\]"),
    ("extra_instructions: [{id: X, task: t, text: hi, level: 1}]", "instructions does not name 'X'"),
    ("extra_instructions: [{id: IC, task: t, text: hi, level: 1}]", "'IC' a second meaning; choose another"),
    ("extra_instructions: [{id: X, task: t, txt: hi, level: 1}]", "0.txt: unknown key; did you mean 'text'"),
    ("models: [Vit-H, instructblip]", "models: unknown model 'Vit-H'; did you mean 'vit-h'?"),
    ("models: [instructblip-13b]", "no phantom checkpoint for instructblip-13b; .* or set checkpoints: hub"),
    (
        "partition: {models: [vit-h]}",
        "partition.models: unknown instructed model 'vit-h'",
    ),
    ("partition: {triples: [[IC, IU1, XX]]}", "unknown instruction in partition.triples 'XX'"),
    ("partition: {triples: [[IC, IU1]]}", "partition.triples.0.2: is missing"),
    ("pooling: last", "pooling: unknown key; did you mean 'features.pooling'?"),
    ("n_fold: 3", "n_fold: unknown key; did you mean 'encoding.n_folds'?"),
    ("encoding: {subjects: [1]}", "encoding.subjects: unknown key; did you mean 'subjects'?"),
    ("encoding: 3", "encoding: expected keys below it, such as solver"),
    (
        "cluster: {rules: {fit_encoding: {cpu: 2}}}",
        "rules.fit_encoding.cpu: .*; did you mean 'cpus'?",
    ),
    ("cluster: {partition: 'gpu a'}", "cluster.partition: is an argument of sbatch.*without spaces"),
    (REAL, "data is 'nsd' but nsd_root is empty; set it .NSD= of make. to the folder"),
    (REAL + "nsd_root: ''", "nsd_root: the path is empty; name a folder"),
    (REAL + "nsd_root: $NOWHERE/nsd", "nsd_root: names a variable or a user that this machine does not have"),
    (REAL + "nsd_root: ~nobody-here/nsd", "nsd_root: names a variable or a user"),
]


@pytest.mark.parametrize(("content", "message"), SETTINGS, ids=range(len(SETTINGS)))
def test_a_settings_file(content, message, tmp_path, capfd):
    file = tmp_path / "mine.yml"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    status = cli.main(["download", "--settings", str(file)])
    check(status, 1, message, capfd.readouterr())


def check(status, expected, message, output):
    """The last line is the sentence, it goes to standard error, and no traceback stands anywhere."""
    lines = output.err.rstrip().splitlines()
    assert status == expected and lines, output
    assert re.search(message, lines[-1]), output
    assert "Traceback" not in output.out + output.err
