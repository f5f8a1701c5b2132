"""The paper's reported figures, and the paper's system of a configuration.

S. Chen et al., "Global Norm-Aware Pooling for Pose-Robust Face Recognition at Low False Positive Rate", Tables 1 and 2:
percent, trained on CASIA-WebFace, TPR at FPR 0.1%, LFW's 6,000 and CFP-FP's 7,000 pairs.
"""
from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Mapping

PAPER_FPR = 1e-3
FASTER = 10.0  # fc7_lr_mult of the FasterFC setting


@dataclass(frozen=True)
class Column:
    """A column of a table: which set ("lfw" or "cfp_fp") and which rate ("accuracy", "eer" or "tpr") of it."""

    set: str
    rate: str

    @property
    def key(self) -> str:
        """The column's name in CSV."""
        return f"{self.rate}_{self.set}"


@dataclass(frozen=True)
class PaperTable:
    """systems: the paper's figures by the network's name there, in percent, one for each column."""

    number: int
    columns: tuple[Column, ...]
    systems: Mapping[str, tuple[float, ...]]


TABLES = (
    PaperTable(1, (Column("lfw", "accuracy"), Column("lfw", "tpr"), Column("cfp_fp", "accuracy"),
                   Column("cfp_fp", "eer"), Column("cfp_fp", "tpr")), MappingProxyType({
                       "LResNet18E": (99.23, 97.66, 94.43, 6.14, 75.31),
                       "LResNet18E(FasterFC)": (99.32, 97.63, 94.97, 5.06, 76.07),
                       "LResNet18E(GAP)": (99.17, 97.53, 94.80, 5.54, 74.69),
                       "LResNet18E(GNAP)": (99.33, 98.27, 95.19, 4.97, 78.31)})),
    PaperTable(2, (Column("cfp_fp", "accuracy"), Column("cfp_fp", "tpr")), MappingProxyType({
        "MobileFaceNet": (88.97, 67.63), "MobileFaceNet+": (94.43, 75.43), "MobileFaceNet++": (94.95, 79.49)})))

SYSTEMS = tuple(name for table in TABLES for name in table.systems)
# network, head, whether FasterFC: these identify the system of a configuration
BY_CONFIGURATION = {("r18", "E", False): "LResNet18E", ("r18", "E", True): "LResNet18E(FasterFC)",
                    ("r18", "GAP", True): "LResNet18E(GAP)", ("r18", "GNAP", True): "LResNet18E(GNAP)",
                    ("y1", "GDC", False): "MobileFaceNet", ("y1", "GNAP", False): "MobileFaceNet+",
                    ("y1", "GNAP", True): "MobileFaceNet++"}
# what no system of the paper changes, and the dimensions of the networks' embeddings
UNCHANGED = {"gnap_variant": "paper", "net_multiplier": 1.0, "version_act": "prelu", "version_input": 1,
             "version_unit": 3, "version_se": 0}
DIMENSIONS = {"r18": 512, "y1": 128}


def table_of(system: str) -> PaperTable | None:
    """The table that has the system, None for one that is not the paper's."""
    return next((table for table in TABLES if system in table.systems), None)


def system_of(config: Mapping[str, Any]) -> str:
    """The paper's name of the system in a `config.json`, or "" where it is none of them.

    Decided by the network and its settings, the head and the factor on fc7's learning rate, not by `preset`, which
    flags may have changed.
    """
    factor = config.get("fc7_lr_mult", 1.0)
    faster = isinstance(factor, (int, float)) and factor == FASTER
    network, head = str(config.get("network")), str(config.get("version_output"))
    usual = {**UNCHANGED, "emb_size": DIMENSIONS.get(network)}
    if not faster and factor != 1.0 or any(config.get(name, value) != value for name, value in usual.items()):
        return ""
    return BY_CONFIGURATION.get((network, head, faster), "")


def system_named(text: str) -> str:
    """The system with this name in the paper or this preset, or ""."""
    plain = text.strip().lower().replace("(", "-").replace(")", "").replace(" ", "")
    return next((name for name in SYSTEMS if name.lower().replace("(", "-").replace(")", "") == plain), "")
