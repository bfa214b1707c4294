"""What comes from outside: captioned datasets, downloads, generators and backbones.

Each kind is a row of a registry (`datasets.DATASETS`, `generators.GENERATORS`, `backbones.BACKBONES`).
Importing these modules loads no deep learning library and reaches no network; opening a source does.
"""
