"""What results are kept under tells two versions of the code apart."""

from pathlib import Path

from lhc.runtime.environment_fingerprint import code_digest, environment


def test_a_changed_an_added_and_a_renamed_module_are_other_code(tmp_path: Path) -> None:
    module = tmp_path / "engine.py"
    module.write_text("SIGMA = 0.06\n")
    before = code_digest([tmp_path])
    assert code_digest([tmp_path]) == before

    module.write_text("SIGMA = 0.07\n")
    changed = code_digest([tmp_path])
    (tmp_path / "other.py").write_text("")
    added = code_digest([tmp_path])
    (tmp_path / "other.py").rename(tmp_path / "another.py")
    renamed = code_digest([tmp_path])
    assert len({before, changed, added, renamed}) == 4


def test_the_emulation_and_all_libraries_that_compute_are_in_it() -> None:
    from lhc.runtime import environment_fingerprint as module

    names = {path.name for folder in module._COMPUTING for path in folder.glob("*.py")}
    assert {
        "im2col_quantise.py",
        "matrix.py",
        "analog_matrix.py",
        "seeds.py",
        "work_unit.py",
        "pcm_and_reram.py",
        "constant_folding.py",
        "recurrent.py",
        "class_probabilities.py",
        "digital_arithmetic.py",
    } <= names
    assert {"lhc", "torch", "numba", "instructions"} <= environment().keys()
