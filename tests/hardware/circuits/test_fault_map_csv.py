"""Maps of stuck cells: what a CSV says is what a chip's tiles have, and what does not fit is refused."""

from pathlib import Path

import numpy as np
import pytest

from lhc.errors import ConfigError, DataError
from lhc.hardware import Hardware, Tiles
from lhc.hardware.circuits.fault_map_csv import with_fault_map
from lhc.hardware.circuits.faults import stuck_cells, stuck_count, tile_text

SMALL = Hardware.load("lionheart").model_copy(update={"tiles": Tiles(rows=7, cols=5, count=4)})
HEAD = "tile,row,column,side,stuck"


def mapped(folder: Path, *lines: str, base: Hardware = SMALL) -> Hardware:
    path = folder / "chip7.csv"
    path.write_text("\n".join((HEAD, *lines)) + "\n")
    return with_fault_map(base, path)[0]


def test_cells_of_a_map_are_those_of_the_table(tmp_path: Path) -> None:
    found = mapped(tmp_path, "0,6,4,positive,low", "2,0,1,negative,high", "2,0,1,positive,high")

    assert found.faults.map is not None
    assert [stuck_count(text, 5, 7) for text in found.faults.map] == [1, 0, 2, 0]
    assert np.argwhere(stuck_cells(found.faults.map[0], 5, 7)).tolist() == [[0, 4, 6]]
    assert np.argwhere(stuck_cells(found.faults.map[2], 5, 7)).tolist() == [[1, 1, 0], [3, 1, 0]]
    assert found.faults.remap
    assert Hardware.parse(found.to_yaml(), "x") == found


def test_where_weights_have_several_pairs_a_line_tells_which(tmp_path: Path) -> None:
    base = SMALL.with_fields({"devices": {"model": "pcm", "pairs_per_weight": 2}})
    path = tmp_path / "chip7.csv"
    path.write_text(f"{HEAD},pair\n0,6,4,positive,low,1\n0,6,4,positive,low,0\n")
    found, text = with_fault_map(base, path)
    assert found.faults.map is not None
    assert np.argwhere(stuck_cells(found.faults.map[0], 5, 14)).tolist() == [[0, 4, 6], [0, 4, 13]]
    assert text.startswith("2 stuck cells, 0.357 %")
    assert Hardware.parse(found.to_yaml(), "x") == found
    path.write_text(f"{HEAD},pair\n0,6,4,positive,low,2\n")
    with pytest.raises(DataError, match="pair '2': a number from 0 to 1"):
        with_fault_map(base, path)
    path.write_text(f"{HEAD}\n0,6,4,positive,low\n")
    with pytest.raises(DataError, match=r"side, stuck, pair$"):
        with_fault_map(base, path)


def test_the_last_tile_of_a_map_is_the_last_of_a_chip_that_does_not_say(tmp_path: Path) -> None:
    base = SMALL.model_copy(update={"tiles": Tiles(rows=7, cols=5)})
    assert mapped(tmp_path, "2,0,0,positive,low", base=base).tiles.count == 3


def test_texts_and_planes_are_one_to_one() -> None:
    low, high = np.random.default_rng(0).random((2, 2, 5, 7)) < 0.3
    planes = np.stack([low[0], high[0] & ~low[0], low[1], high[1] & ~low[1]])

    np.testing.assert_array_equal(stuck_cells(tile_text(planes), 5, 7), planes)
    assert tile_text(np.zeros((4, 5, 7), np.bool_)) == ""


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("4,0,0,positive,low", r"line 2: tile '4': a number from 0 to 3"),
        ("0,7,0,positive,low", r"row '7': a number from 0 to 6"),
        ("0,0,-1,positive,low", r"column '-1': a number from 0 to 4"),
        ("0,0,nan,positive,low", r"column 'nan'"),
        ("0,0,0,both,low", "side 'both', stuck 'low': side must be positive or negative"),
        ("0,0,0,positive,open", "side 'positive', stuck 'open': .* low or high"),
        ("0,0,0,positive,low,9", "nothing follows them"),
        ("0,0", "column '': a number"),
        ("0,0,0,positive,low\n0,0,0,positive,high", "line 3: that cell is in an earlier line already"),
    ],
)
def test_lines_that_do_not_fit_are_refused(tmp_path: Path, line: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        mapped(tmp_path, line)


def test_cells_that_no_faults_are_known_for_are_refused(tmp_path: Path) -> None:
    pairs = SMALL.with_fields({"devices": {"model": "pcm", "pair": "reference-column"}, "costs": None})
    with pytest.raises(ConfigError, match=r"^hardware 'lionheart': .*devices.pair: reference-column a weight has one"):
        mapped(tmp_path, "0,0,0,positive,low", base=pairs)


def test_other_tables_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "chip.csv"
    path.write_text("tile,row,column\n0,0,0\n")
    with pytest.raises(DataError, match="columns of a map of stuck cells are tile, row"):
        with_fault_map(SMALL, path)
    with pytest.raises(DataError, match="cannot be read as CSV"):
        with_fault_map(SMALL, tmp_path / "missing.csv")


GOOD = tile_text(np.eye(5, 7, dtype=np.bool_) & np.array([1, 0, 0, 0], np.bool_)[:, None, None])
BOTH = tile_text(np.ones((4, 5, 7), np.bool_))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"tiles: {{rows: 7, cols: 5}}\nfaults: {{map: [{GOOD}]}}", "need tiles.count"),
        (
            f"tiles: {{rows: 7, cols: 5, count: 2}}\nfaults: {{map: [{GOOD}]}}",
            "describes 1 tiles, and tiles.count is 2",
        ),
        (f"tiles: {{rows: 9, cols: 5, count: 1}}\nfaults: {{map: [{GOOD}]}}", "not that of 9 rows and 5 columns"),
        (f"tiles: {{rows: 7, cols: 5, count: 1}}\nfaults: {{map: [{BOTH}]}}", "stuck at both ends"),
        ("tiles: {rows: 7, cols: 5, count: 1}\nfaults: {map: ['?']}", "cannot be read"),
        (f"tiles: {{rows: 7, cols: 5, count: 1}}\nfaults: {{map: [{GOOD}], stuck_low: 0.1}}", "instead of drawn cells"),
        (f"tiles: {{rows: 7, cols: 5, count: 1}}\nfaults: {{map: [{GOOD}], found: 0.9}}", "found is 1"),
        ("tiles: {count: 2}\nfaults: {tile_noise: [1]}", "tile_noise describes 1 tiles"),
        ("tiles: {count: 1}\nfaults: {tile_noise: [-1]}", "tile_noise"),
        ("tiles: {count: 1}\nfaults: {tile_noise: [1], tile_spread: 0.1}", "give one of them"),
        ("tiles: {count: 2}\nfaults: {tile_spread: 0.1}\noverrides: [{layers: a, on_tiles: [-1]}]", "on_tiles"),
    ],
)
def test_descriptions_that_do_not_fit_are_refused(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Hardware.parse(f"name: x\n{text}\n", "x")


def test_a_tile_that_the_chip_has_not_is_refused_for_the_layer() -> None:
    text = "name: x\ntiles: {count: 2}\nfaults: {tile_spread: 0.1}\noverrides: [{layers: a, on_tiles: [5]}]\n"
    with pytest.raises(ConfigError, match="tile 5: the chip has tiles 0 to 1"):
        Hardware.parse(text, "x").for_layer("a")
