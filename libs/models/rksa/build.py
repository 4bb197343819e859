"""From a config and events to a model: counts, factors, network."""

import numpy as np

from libs.data.events.cooccurrence import count_together, training_items
from libs.data.events.relations import RelationTables
from libs.data.events.store import EventStore
from libs.models.rksa.config import RksaConfig, SasrecConfig
from libs.models.rksa.factors import cross_fitted_factors, folds_of
from libs.models.rksa.model import RksaModel, SasrecModel
from libs.models.rksa.network import RKSA, RelationSettings

_EVENTS_WITH_ALL_COUNTS = 10_000_000
_MOST_NEIGHBOURS = 128


def build_sasrec(config: SasrecConfig, events: EventStore) -> SasrecModel:
    """A new SASRec for the items of events."""
    return SasrecModel(_network(config, events, RelationSettings(relations=())))


def build_rksa(config: RksaConfig, events: EventStore, seed: int) -> RksaModel | SasrecModel:
    """A new RKSA; without relations it is SASRec.

    Raises:
        ValueError: the dense form was asked for, and there are too many events for all counts.
    """
    if not config.relations:
        return build_sasrec(config, events)
    settings = RelationSettings(
        relations=config.relations,
        mixture=config.mixture,
        form=config.form,
        skew=config.skew,
        activation=config.activation,
        start_scale=config.start_scale,
        noise=config.noise,
        rank=config.rank,
        cooccurrence_rank=config.cooccurrence_rank,
        samples=config.samples,
    )
    return RksaModel(
        _network(config, events, settings),
        build_tables(config, events, seed),
        kernel_loss=config.kernel_loss,
        latent_divergence=config.latent_divergence,
        prior_scale=config.prior_scale,
        unknown_user=config.unknown_user,
        kernel_lr_factor=config.kernel_lr_factor,
    )


def build_tables(config: RksaConfig, events: EventStore, seed: int) -> RelationTables:
    """Counts and factors of the training events; the same for the same seed."""
    sets = training_items(events)
    folds = folds_of(sets, config.folds, seed)
    counts = count_together(sets, events.num_items, most_neighbours_of(config, events))
    if "cooccurrence" in config.relations and config.form == "low-rank":
        factors = cross_fitted_factors(sets, events.num_items, folds, config.cooccurrence_rank, seed)
    else:  # nothing reads them
        factors = np.zeros((config.folds + 1, events.num_items + 1, 0), np.float32)
    return RelationTables(counts, factors, folds, sets if config.own_user_out else None)


def most_neighbours_of(config: RksaConfig, events: EventStore) -> int | None:
    """How many neighbours of an item are kept; None for all.

    Raises:
        ValueError: as `build_rksa`.
    """
    if config.most_neighbours is not None or len(events.items) <= _EVENTS_WITH_ALL_COUNTS:
        return config.most_neighbours
    if config.form == "dense":
        raise ValueError(f"form dense needs all counts; {len(events.items)} events have too many. Choose low-rank.")
    return _MOST_NEIGHBOURS


def _network(config: SasrecConfig, events: EventStore, settings: RelationSettings) -> RKSA:
    return RKSA(
        events.num_items,
        events.num_users,
        config.width,
        max_length=config.max_length,
        blocks=config.blocks,
        dropout=config.dropout,
        places=config.places,
        settings=settings,
    )
