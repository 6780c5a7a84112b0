"""BibTeX for a report: lhc, and the papers behind the methods and models that it used.

Titles, venues and numbers are those of the publishers' pages; `CITATION.cff` has the first three for the whole of lhc.
"""

from collections.abc import Iterator

from lhc.plan import Plan
from lhc.support.text_escaping import latex_text

_LHC = """@software{{lhc,
  title = {{lhc: partition {{ONNX}} networks between analog in-memory computing tiles and digital cores}},
  author = {{{{The lhc authors}}}},
  version = {{{version}}}
}}"""
_LIONHEART = """@article{lammie2025lionheart,
  title = {{LionHeart}: A Layer-based Mapping Framework for Heterogeneous Systems with Analog In-Memory Computing
    Tiles},
  author = {Lammie, Corey and Wang, Yuxuan and Ponzina, Flavio and Klein, Joshua and Benmeziane, Hadjer and Zapater,
    Marina and Boybat, Irem and Sebastian, Abu and Ansaloni, Giovanni and Atienza, David},
  journal = {IEEE Transactions on Emerging Topics in Computing},
  year = {2025},
  doi = {10.1109/TETC.2025.3546128}
}"""
_AIHWKIT = """@inproceedings{rasch2021aihwkit,
  title = {A flexible and fast {PyTorch} toolkit for simulating training and inference on analog crossbar arrays},
  author = {Rasch, Malte J. and Moreda, Diego and Gokmen, Tayfun and Le Gallo, Manuel and Carta, Fabio and Goldberg,
    Cindy and El Maghraoui, Kaoutar and Sebastian, Abu and Narayanan, Vijay},
  booktitle = {IEEE International Conference on Artificial Intelligence Circuits and Systems (AICAS)},
  year = {2021},
  url = {https://arxiv.org/abs/2104.02184}
}"""
_JOSHI = """@article{joshi2020accurate,
  title = {Accurate deep neural network inference using computational phase-change memory},
  author = {Joshi, Vinay and Le Gallo, Manuel and Haefeli, Simon and Boybat, Irem and Nandakumar, S. R. and Piveteau,
    Christophe and Dazzi, Martino and Rajendran, Bipin and Sebastian, Abu and Eleftheriou, Evangelos},
  journal = {Nature Communications},
  volume = {11},
  year = {2020},
  doi = {10.1038/s41467-020-16108-9}
}"""
_ALPINE = """@article{klein2023alpine,
  title = {{ALPINE}: Analog In-Memory Acceleration with Tight Processor Integration for Deep Learning},
  author = {Klein, Joshua and Boybat, Irem and Qureshi, Yasir Mahmood and Dazzi, Martino and Levisse, Alexandre and
    Ansaloni, Giovanni and Zapater, Marina and Sebastian, Abu and Atienza, David},
  journal = {IEEE Transactions on Computers},
  year = {2023},
  doi = {10.1109/TC.2022.3230285}
}"""
_DIANA = """@article{houshmand2023diana,
  title = {{DIANA}: An End-to-End Hybrid {DIgital} and {ANAlog} Neural Network {SoC} for the Edge},
  author = {Houshmand, Pouya and Sarda, Giuseppe M. and Jain, Vikram and Ueyoshi, Kodai and Papistas, Ioannis A. and
    Shi, Man and Zheng, Qilin and Bhattacharjee, Debjyoti and Mallik, Arindam and Debacker, Peter and Verkest,
    Diederik and Verhelst, Marian},
  journal = {IEEE Journal of Solid-State Circuits},
  volume = {58},
  number = {1},
  year = {2023},
  doi = {10.1109/JSSC.2022.3214064}
}"""
_ODIMO = """@article{risso2025odimo,
  title = {Optimizing {DNN} Inference on Multi-Accelerator {SoCs} at Training-time},
  author = {Risso, Matteo and Burrello, Alessio and Jahier Pagliari, Daniele},
  journal = {IEEE Transactions on Computer-Aided Design of Integrated Circuits and Systems},
  volume = {44},
  number = {9},
  year = {2025},
  doi = {10.1109/TCAD.2025.3543715}
}"""


def bibtex(plan: Plan) -> str:
    """Entries of BibTeX; a method that the plan did not use is not among them."""
    return "\n\n".join(_entries(plan)) + "\n"


def _entries(plan: Plan) -> Iterator[str]:
    hardware = plan.hardware
    yield _LHC.format(version=latex_text(plan.lhc_version))
    yield _LIONHEART
    yield _AIHWKIT
    # Its polynomial of programming noise, its drift compensation, and calibration of outputs (AdaBS).
    analog = hardware.devices is not None
    if analog and (hardware.compensation.drift != "none" or hardware.corrects_outputs):
        yield _JOSHI
    if hardware.costs is not None and hardware.costs.model == "alpine":
        yield _ALPINE
    if hardware.costs is not None and hardware.costs.model == "diana":
        yield from (_DIANA, _ODIMO)  # the chip, and the model of its costs
