"""Public data sets by name: their address, and the digest of their archive if it is known."""

from dataclasses import dataclass


@dataclass(frozen=True)
class PublicSet:
    url: str
    """A gzipped tar archive."""
    root: str
    """Pattern of the one folder in the archive that holds the photos."""
    digest: str | None = None
    """`algorithm:hex`, if its publisher or a library gives one; None for the archive of a branch, which changes."""


PUBLIC_SETS = {
    # 101 dishes x 1,000 photos, 5 GB. Bossard et al., ECCV 2014. The digest is torchvision's.
    "food101": PublicSet(
        url="http://data.vision.ee.ethz.ch/cvl/food-101.tar.gz",
        root="food-101",
        digest="md5:85eeb15f3717b99a5da872d97d918f87",
    ),
    # Fruit and vegetables on white, 100x100 pixels. M. Oltean, CC BY-SA 4.0. It still grows.
    "fruits360": PublicSet(
        url="https://github.com/fruits-360/fruits-360-100x100/archive/HEAD.tar.gz",
        root="fruits-360-100x100-*",
    ),
    # 81 groceries in 43 groups, photographed in shops. Klasson et al., WACV 2019, MIT.
    "grocery": PublicSet(
        url="https://github.com/marcusklasson/GroceryStoreDataset/archive/HEAD.tar.gz",
        root="GroceryStoreDataset-*/dataset",
    ),
}
