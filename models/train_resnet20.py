"""Train ResNet20 on CIFAR-10 and write it as ONNX.

    python -m lhc.models.train_resnet20 --cifar FOLDER -o resnet20.onnx

The recipe is the usual one (He et al., CVPR 2016; as in github.com/akamaster/pytorch_resnet_cifar10): SGD with momentum
0.9 and weight decay 0.0001, batches of 128, a learning rate of 0.1 that falls to a tenth after a half and again after
three quarters of the epochs, images moved by up to 4 pixels and flipped. That recipe is published with 91.7 % of the
test images right after 200 epochs; it was not run to its end here. A GPU is used where torch has one.

After every epoch everything is kept in ``OUT.checkpoint.pt``, from which the same command goes on. The ONNX file holds
the last epoch's weights, batch-norms folded; ``lhc export resnet20 --weights OUT.checkpoint.pt`` reads them too.
FOLDER holds CIFAR-10 in a layout of `lhc.models.cifar10`. ``--epochs 2 --limit 2000`` is a test of minutes.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lhc.errors import LhcError, UsageError
from lhc.models import cifar10
from lhc.models.export import export_onnx
from lhc.models.resnet20 import build
from lhc.models.weights import read_weights
from lhc.models.zoo_entry import require
from lhc.support.files import write_file

if TYPE_CHECKING:
    import torch

    from lhc.models.residual_networks import ResidualNet

MOMENTUM, WEIGHT_DECAY, BATCH, RATE, REACH = 0.9, 1e-4, 128, 0.1, 4
_WIDTHS, _BLOCKS, _CLASSES = (16, 32, 64), 3, 10


@dataclass(frozen=True)
class ResNet20Recipe:
    """What decides the weights, beside the images.

    Attributes:
        epochs: passes over the images.
        limit: the first so many images alone.
        seed: of the first weights, of the order of images and of how they are moved.
    """

    epochs: int = 200
    limit: int | None = None
    seed: int = 0

    def rate(self, epoch: int) -> float:
        """Learning rate of an epoch, counted from 0.

        >>> [ResNet20Recipe(epochs=8).rate(epoch) for epoch in (0, 3, 4, 6)]
        [0.1, 0.1, 0.01, 0.001]
        """
        falls = (2 * epoch >= self.epochs) + (4 * epoch >= 3 * self.epochs)
        return float(round(RATE * 0.1**falls, 12))


def train(folder: Path, recipe: ResNet20Recipe, checkpoint: Path, device: str = "cpu") -> "ResidualNet":
    """Train, or go on where the checkpoint stands; it is written after every epoch.

    Args:
        folder: CIFAR-10, in a layout of `lhc.models.cifar10`.

    Raises:
        DataError: the images are not there.
        UsageError: the checkpoint is of another recipe, or is no checkpoint.
        MissingDependencyError: PyTorch is not installed.
    """
    require("training needs PyTorch", "torch")
    import torch
    from torch.nn import functional

    from lhc.models.residual_networks import ResidualNet

    images, labels = cifar10.load("train", folder)
    x = torch.from_numpy(images[: recipe.limit]).to(device)
    y = torch.from_numpy(labels[: recipe.limit]).to(device)
    torch.manual_seed(recipe.seed)
    network = ResidualNet(channels=3, widths=_WIDTHS, blocks=_BLOCKS, classes=_CLASSES).to(device)
    optimizer = torch.optim.SGD(network.parameters(), RATE, MOMENTUM, weight_decay=WEIGHT_DECAY)
    first = _resume(checkpoint, recipe, network, optimizer)
    for epoch in range(first, recipe.epochs):
        rng = np.random.default_rng((recipe.seed, epoch))
        for group in optimizer.param_groups:
            group["lr"] = recipe.rate(epoch)
        network.train()
        right = 0
        for batch in np.array_split(rng.permutation(len(x)), max(1, len(x) // BATCH)):
            where = torch.from_numpy(batch).to(device)
            logits = network(_moved(x[where], rng))
            loss = functional.cross_entropy(logits, y[where])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            right += int((logits.argmax(1) == y[where]).sum())
        kept = {
            "state_dict": network.state_dict(),
            "optimizer": optimizer.state_dict(),
            "epochs_done": epoch + 1,
            "recipe": asdict(recipe),
        }
        write_file(checkpoint, partial(torch.save, kept))
        print(f"epoch {epoch + 1}/{recipe.epochs}: {right / len(x):.2%} of the training images", file=sys.stderr)
    return network.cpu().eval()


def _resume(
    checkpoint: Path, recipe: ResNet20Recipe, network: "torch.nn.Module", optimizer: "torch.optim.Optimizer"
) -> int:
    """Epochs that are done; their weights and the optimiser's state are loaded."""
    import torch

    if not checkpoint.exists():
        return 0
    try:
        kept: dict[str, Any] = torch.load(checkpoint, map_location="cpu", weights_only=True)
        found = kept["recipe"]
        if found == asdict(recipe):
            network.load_state_dict(kept["state_dict"])
            optimizer.load_state_dict(kept["optimizer"])
            return int(kept["epochs_done"])
    except Exception as error:  # torch raises much for a file that is none of its own
        raise UsageError(f"{checkpoint}: not a checkpoint of this script: remove it, or give another -o") from error
    raise UsageError(f"{checkpoint}: of another recipe, {found}; remove it to begin anew, or give another -o")


def _moved(images: "torch.Tensor", rng: np.random.Generator) -> "torch.Tensor":
    """Each image moved by up to `REACH` pixels, zeros coming in, and flipped or not: ``(n, 3, 32, 32)``."""
    import torch
    from torch.nn import functional

    count, _, height, width = images.shape
    padded = functional.pad(images, (REACH,) * 4)
    down, right = (torch.from_numpy(rng.integers(0, 2 * REACH + 1, count)).to(images.device) for _ in range(2))
    rows = down[:, None] + torch.arange(height, device=images.device)
    columns = right[:, None] + torch.arange(width, device=images.device)
    flipped = torch.from_numpy(rng.random(count) < 0.5).to(images.device)
    columns = torch.where(flipped[:, None], columns.flip(1), columns)
    index = torch.arange(count, device=images.device)[:, None, None]
    return padded.permute(0, 2, 3, 1)[index, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def _accuracy(network: "ResidualNet", folder: Path) -> float:
    """Share of the test images that are right."""
    import torch

    images, labels = cifar10.load("test", folder)
    with torch.no_grad():
        classes = [network(torch.from_numpy(part)).argmax(1).numpy() for part in np.array_split(images, 20)]
    return float((np.concatenate(classes) == labels).mean())


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; gives the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m lhc.models.train_resnet20",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--cifar", type=Path, required=True, metavar="FOLDER", help="holds CIFAR-10")
    parser.add_argument("-o", "--out", type=Path, default=Path("resnet20.onnx"), metavar="OUT.onnx")
    parser.add_argument("--epochs", type=int, default=ResNet20Recipe.epochs)
    parser.add_argument("--limit", type=int, default=None, metavar="N", help="train on the first N images alone")
    parser.add_argument("--seed", type=int, default=ResNet20Recipe.seed)
    parser.add_argument("--device", default=None, help="of torch; a GPU where there is one by default")
    parser.add_argument("--force", action="store_true", help="replace OUT.onnx where it exists")
    options = parser.parse_args(arguments)
    if options.out.exists() and not options.force:
        parser.error(f"{options.out}: exists; --force replaces it")
    checkpoint = options.out.with_suffix(".checkpoint.pt")
    if options.epochs < 1 or (options.limit is not None and options.limit < 2):
        parser.error("--epochs must be at least 1, --limit at least 2")
    try:
        require("training needs PyTorch", "torch")
        import torch

        device = options.device or ("cuda" if torch.cuda.is_available() else "cpu")
        network = train(options.cifar, ResNet20Recipe(options.epochs, options.limit, options.seed), checkpoint, device)
        exported = export_onnx(build(read_weights(checkpoint), str(checkpoint)), torch.zeros(2, 3, 32, 32))
        write_file(options.out, lambda file: file.write(exported.SerializeToString()))
        print(
            f"{options.out}: {_accuracy(network, options.cifar):.2%} of the test images, after {options.epochs} epochs"
        )
    except LhcError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
