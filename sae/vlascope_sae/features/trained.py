"""Indexing an autoencoder as it was trained, and going back from an index to its parts."""

from __future__ import annotations

from pathlib import Path

from vlascope.errors import FileMissing, IncompatibleError
from vlascope.hooks import HookPoint
from vlascope.store import ActivationStore, Where
from vlascope_sae.autoencoder import SparseAutoencoder
from vlascope_sae.features.index import FeatureIndex
from vlascope_sae.features.indexing import build_index
from vlascope_sae.features.neighbours import check_same
from vlascope_sae.features.pictures import HeatMaps, StripFrames, Window
from vlascope_sae.features.sheet import contact_sheet, write_html, write_png
from vlascope_sae.files import load_sae
from vlascope_sae.provenance import Trained

__all__ = ["index_trained", "indexed_sae", "write_sheet"]


def index_trained(
    trained: Trained,
    store: ActivationStore,
    out: str | Path,
    *,
    point: HookPoint | str | None = None,
    top_k: int = 16,
    sae_path: str = "",
) -> Path:
    """`build_index` with the hook point, spans, calls and pooling that it was trained with.

    Raises:
        IncompatibleError: the store is of another policy than the autoencoder, or no hook point
            is known.
    """
    origin = trained.provenance
    if origin.checkpoint_hash not in ("", store.provenance.checkpoint_hash):
        raise IncompatibleError(
            f"the SAE was trained on {origin.adapter} {origin.checkpoint} "
            f"({origin.checkpoint_hash[:12]}), but {store.path} holds activations of "
            f"{store.provenance.adapter} {store.provenance.checkpoint} "
            f"({store.provenance.checkpoint_hash[:12]}); record that policy, or use its own SAE"
        )
    if not (point or origin.hook_point):
        raise IncompatibleError(
            "the SAE does not say at which hook point it was trained; name one (--point)"
        )
    return build_index(
        trained.sae,
        store,
        point or origin.hook_point,
        out,
        where=Where(spans=origin.spans, calls=origin.calls),
        pool=origin.pool,
        top_k=top_k,
        sae_path=str(Path(sae_path).resolve()) if sae_path else "",
    )


def indexed_sae(index: FeatureIndex, path: Path | None = None) -> SparseAutoencoder | None:
    """The autoencoder of an index, from where it lay or lies now; None where that is not known.

    Raises:
        FileMissing: there is none at `path`.
        IncompatibleError: it is another one.
    """
    known = path or (Path(index.manifest.sae_path) if index.manifest.sae_path else None)
    if known is None or (path is None and not known.exists()):
        return None
    sae = load_sae(known).sae
    check_same(index, sae)
    return sae


def write_sheet(
    index: FeatureIndex,
    feature: int,
    run: Path | None,
    sae: SparseAutoencoder | None,
    *,
    png: Path | None = None,
    html: Path | None = None,
    stream: str | None = None,
    window: Window | None = None,
    about: str = "",
) -> list[Path]:
    """The contact sheet from a run's film strips, with heat where there is an autoencoder.

    Args:
        index: the index.
        feature: which feature.
        run: where the episodes were played; by default the folder that holds the store.
        sae: the index's autoencoder, for the heat; None for none.
        png: where to write the picture; None for not at all.
        html: where to write the page; None for not at all.
        stream: the image stream that the pictures show.
        window: the square that the policy cuts out of them: row, column, side in pixels.
        about: one more line for the header.

    Raises:
        FileMissing: the run has no episodes.
    """
    where = Path(index.manifest.store)
    frames = StripFrames(run or where.parent, index.manifest.provenance.checkpoint_hash)
    heat = None
    if sae is not None:
        if not where.exists():
            raise FileMissing(
                f"the index's store was at {where}, which is gone; leave the heat out (--no-heat)"
            )
        heat = HeatMaps(index, sae, ActivationStore.open(where), stream, window)
    sheet = contact_sheet(index, feature, frames, heat=heat, about=about)
    written = []
    if png is not None:
        written.append(write_png(sheet, png))
    if html is not None:
        written.append(write_html(sheet, html))
    return written
