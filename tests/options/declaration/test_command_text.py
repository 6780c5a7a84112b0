"""The shell command that says the same as an options object."""

from dataclasses import replace
from pathlib import Path

from lhc.options.by_command import PartitionOptions, RunOptions
from lhc.options.declaration.command_text import command_line, made_by


def test_a_result_names_files_without_their_folders_and_not_how_the_work_was_carried_out() -> None:
    asked = PartitionOptions(
        "/home/me/net.onnx", data=Path("../data/some.npz"), hardware="/machines/mine.yaml", draws=3, include=("a/*",)
    )
    told = "lhc partition net.onnx --data some.npz --draws 3 --hardware mine.yaml --include 'a/*'"
    assert sorted(made_by("partition", asked).split()) == sorted(told.split())
    assert "--t-inference 0,3600 " in f"{command_line('run', RunOptions('digits', times=[0.0, 3600.0]))} "
    assert " --t-inference 1234567 " in f"{command_line('run', RunOptions('digits', times=[1234567.0]))} "
    elsewhere = replace(asked, model="net.onnx", jobs=2, work_dir="/tmp/cache", timeout=60.0)
    assert made_by("partition", elsewhere) == made_by("partition", asked)
    assert " --timeout 60 " in made_by("partition", elsewhere, cut_short=True)
