"""The list of methods, as plain data. Imports no torch: the gateway reads it too."""

import difflib
import importlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import BaseModel

from libs.data.manifest import DataKind
from libs.models.afd.config import AfdConfig
from libs.models.bpr_mf.config import BprMfConfig
from libs.models.frskd.config import FrskdConfig
from libs.models.gru4rec.config import Gru4recConfig
from libs.models.hcrnn.config import HcrnnConfig
from libs.models.narm.config import NarmConfig
from libs.models.rksa.config import RksaConfig, SasrecConfig
from libs.models.sequences.config import BESIDE
from libs.models.supervised.config import SupervisedConfig
from libs.training.run import Inputs, Outcome, Run

Task = Literal["image-classification", "next-item"]


class UnknownMethodError(LookupError):
    """No method of that name; the message names the nearest ones."""

    def __init__(self, name: str, known: Iterable[str] | None = None) -> None:
        names = sorted(METHODS if known is None else known)
        self.name = name
        self.nearest = difflib.get_close_matches(name, names, n=3, cutoff=0.4)
        hint = f" Did you mean {' or '.join(self.nearest)}?" if self.nearest else ""
        super().__init__(f"There is no method {name[:80]!r}.{hint} Methods: {', '.join(names)}.")


@dataclass(frozen=True, slots=True)
class Method:
    """One method of the catalog.

    Attributes:
        name: what REST, CLI and the registry call it.
        task: what a model it trains does; also of the model it may start from.
        data: kind of the data set it trains on (`libs.data.manifest`).
        config: its hyper-parameters.
        entry: `module:train`, with `estimate` beside it, both `(config, inputs, run) -> Outcome`; imported only where
            they run.
        reference: where it was published; empty: nowhere.
        models: roles of the models it needs besides; any training may be given `init`.
        beside: roles of registered models that may be measured beside the trained one, each named by their method.
        optional_datasets: roles of data sets it may be given beside `train`.
        variants: name → settings that switch a part of the method off, or choose another form of it, to be compared
            with the whole.
        own_settings: of those that it shares with others, the ones that make it what it is: no comparison passes them
            on or sets them.
    """

    name: str
    title: str
    summary: str
    task: Task
    data: DataKind
    config: type[BaseModel]
    entry: str
    reference: str
    models: frozenset[str] = frozenset()
    beside: frozenset[str] = frozenset()
    optional_datasets: frozenset[str] = frozenset()
    variants: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    own_settings: frozenset[str] = frozenset()

    def load(self) -> Callable[[Any, Inputs, Run], Outcome]:
        """Import and return the entry point (this imports torch)."""
        return self._function(self.entry.partition(":")[2])

    def load_estimate(self) -> Callable[[Any, Inputs, Run], Outcome]:
        """Import and return `estimate`, which stands beside the entry point: what a training would cost."""
        return self._function("estimate")

    def _function(self, name: str) -> Callable[[Any, Inputs, Run], Outcome]:
        module = importlib.import_module(self.entry.partition(":")[0])
        found: Callable[[Any, Inputs, Run], Outcome] = getattr(module, name)
        return found


METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        Method(
            name="afd",
            title="AFD: attention-based feature distillation",
            summary="A small image classifier taught by a large one, through soft labels and linked features.",
            task="image-classification",
            data="images",
            config=AfdConfig,
            entry="libs.models.afd.train:train",
            reference="Ji, Heo and Park, AAAI 2021, arXiv 2102.02973",
            models=frozenset({"teacher"}),
            optional_datasets=frozenset({"unlabelled"}),
            variants={"kd": {"beta": 0.0}},
        ),
        Method(
            name="bpr-mf",
            title="BPR-MF: matrix factorisation by pairwise ranking",
            summary="A vector a user, a vector an item, no order of events: the classic baseline.",
            task="next-item",
            data="events",
            config=BprMfConfig,
            entry="libs.models.bpr_mf.train:train",
            reference="Rendle et al., UAI 2009, arXiv 1205.2618",
            beside=BESIDE,
            own_settings=frozenset({"objective", "negatives"}),
        ),
        Method(
            name="frskd",
            title="FRSKD: feature refinement via self-knowledge distillation",
            summary="A small image classifier that teaches itself, without a pretrained teacher.",
            task="image-classification",
            data="images",
            config=FrskdConfig,
            entry="libs.models.frskd.train:train",
            reference="Ji et al., CVPR 2021, arXiv 2103.08273",
        ),
        Method(
            name="gru4rec",
            title="GRU4Rec",
            summary="Next items by one GRU over a history: small, fast, a strong baseline.",
            task="next-item",
            data="events",
            config=Gru4recConfig,
            entry="libs.models.gru4rec.train:train",
            reference="Hidasi et al., ICLR 2016, arXiv 1511.06939",
            beside=BESIDE,
            variants={"untied": {"tied": False}},
        ),
        Method(
            name="hcrnn",
            title="HCRNN: hierarchical context recurrent network",
            summary="Next items from interests at three speeds; says where a person's interest drifted.",
            task="next-item",
            data="events",
            config=HcrnnConfig,
            entry="libs.models.hcrnn.train:train",
            reference="Song et al., AAAI 2019, arXiv 1904.12674",
            beside=BESIDE,
            variants={
                "version-1": {"version": 1},
                "version-2": {"version": 2},
                "single-attention": {"attention": "single"},
            },
        ),
        Method(
            name="narm",
            title="NARM: neural attentive recommendation machine",
            summary="Next items by a GRU whose states an attention reads.",
            task="next-item",
            data="events",
            config=NarmConfig,
            entry="libs.models.narm.train:train",
            reference="Li et al., CIKM 2017, arXiv 1711.04725",
            beside=BESIDE,
        ),
        Method(
            name="rksa",
            title="RKSA: relation-aware kernelised self-attention",
            summary="Next items by self-attention that knows which items go together; says how sure it is and why.",
            task="next-item",
            data="events",
            config=RksaConfig,
            entry="libs.models.rksa.train:train",
            reference="Ji et al., AAAI 2020, arXiv 1911.06478",
            beside=BESIDE,
            variants={
                "no-skew": {"skew": False},
                "fixed-mixture": {"mixture": "fixed"},
                "cooccurrence-alone": {"relations": ("cooccurrence",)},
                "item-alone": {"relations": ("item",)},
                "user-alone": {"relations": ("user",)},
            },
        ),
        Method(
            name="sasrec",
            title="SASRec: self-attentive sequential recommendation",
            summary="Next items by self-attention over a history: the baseline of RKSA.",
            task="next-item",
            data="events",
            config=SasrecConfig,
            entry="libs.models.rksa.train:train",
            reference="Kang and McAuley, ICDM 2018, arXiv 1808.09781",
            beside=BESIDE,
        ),
        Method(
            name="supervised",
            title="Supervised training",
            summary="Plain cross-entropy training: the baseline, and a source of teachers.",
            task="image-classification",
            data="images",
            config=SupervisedConfig,
            entry="libs.models.supervised.train:train",
            reference="",
        ),
    )
}


def method(name: str) -> Method:
    """The method called `name`.

    Raises:
        UnknownMethodError: there is none; the error carries the nearest names.
    """
    try:
        return METHODS[name]
    except KeyError:
        raise UnknownMethodError(name) from None
