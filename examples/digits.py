"""Something to try Octavo with: scikit-learn's handwritten digits, as files in the current folder.

`python -m examples.digits` writes `digits.zip`, a folder for each class below `train` and `test` as you would pack
pictures of your own, and `digit.png`, one of the test pictures.
"""

from pathlib import Path

from services.local.demo import digits, png, write_zip


def main() -> None:
    """Write both files."""
    pictures, answers = digits()
    write_zip(pictures, answers, Path("digits.zip"))
    Path("digit.png").write_bytes(png(pictures[0]))
    print(f"digits.zip: {len(pictures)} pictures of ten classes. digit.png: a {answers[0]}, one of the test pictures.")


if __name__ == "__main__":
    main()
