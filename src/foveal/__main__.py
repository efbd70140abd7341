"""`python -m foveal` is `foveal`, so that `torchrun -m foveal train …` works."""

from foveal.cli import main

if __name__ == "__main__":
    main()
