"""The support-vector machine that `experiment=digits_vit` is compared with, on the same pixels and the same
split.

python -m benchmarks.studies.digits_svm [--split-seed 1]
"""

import argparse

from sklearn.svm import SVC

from benchmarks.machine import versions
from vitlab.data.sources.digits import Digits
from vitlab.data.splits import Split, make_splits


def pixels(split: Split):
    return split.samples.images[split.indices].flatten(1).numpy() / 255.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--split-seed", type=int, default=0)
    options = parser.parse_args()
    splits = make_splits(Digits().load(), val_fraction=0.1, test_fraction=0.2, seed=options.split_seed)
    machine = SVC(C=10.0, gamma="scale").fit(pixels(splits["train"]), splits["train"].labels.numpy())
    accuracy = machine.score(pixels(splits["test"]), splits["test"].labels.numpy())
    sizes = f"{len(splits['train'])} training and {len(splits['test'])} test images"
    print(f"{versions(['scikit-learn'])}: RBF, C=10, {sizes}: {accuracy:.2%}")


if __name__ == "__main__":
    main()
