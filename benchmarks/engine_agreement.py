"""How many outputs of the engine ``fast`` are an ADC step from those of ``aihwkit``, on networks of the zoo, noise on.

``LHC_DATA=FOLDER PYTHONPATH=. python benchmarks/engine_agreement.py``

This is the check of ``lhc run --all-analog``: a block of every layer, on one chip of the preset ``lionheart``, with the
network's own samples.
"""

import argparse

import lhc

NETWORKS = (
    *("digits", "digits-narrow", "resnet8", "resnet20", "minilm", "minilm-squad", "stories260k"),
    *("magika", "g2p-en", "mtcnn-rnet", "swift-f0", "fracast", "ppocr-cls", "ppocr-det", "langid", "g2pm"),
)


def main() -> None:
    """Print a line a network, and the greatest share."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", default=NETWORKS)
    parser.add_argument("--samples", type=int, default=16)
    asked = parser.parse_args()
    shares = {}
    for name in asked.networks:
        found = lhc.run(name, all_analog=True, samples=asked.samples, draws=1).conformance
        assert found is not None, "the engine fast computes all layers"
        shares[name] = found.apart / found.outputs
        print(
            f"{name}: {len(found.layers)} layers, {found.outputs:,} outputs, {100 * shares[name]:.2g} % apart,"
            f" {found.further} of them by more than one step",
            flush=True,
        )
    worst = max(shares, key=lambda name: shares[name])
    print(f"{len(shares)} networks: at most {100 * shares[worst]:.2g} % apart ({worst})")


if __name__ == "__main__":
    main()
