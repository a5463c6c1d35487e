"""How much of what neurons write is actions, how much words, by layer."""

from __future__ import annotations

from dataclasses import dataclass

from vlascope.statistics import Estimate, rate
from vlascope_probes.value_vectors.speech import Speech

__all__ = ["Share", "share_of_actions"]


@dataclass(frozen=True)
class Share:
    """Shares of the top tokens of one layer's neurons; the three sum to 1.

    Attributes:
        layer: of the language pathway.
        neurons: how many write anything; `silent` write nothing and are left out.
        actions, words, special: shares of all top-k tokens.
        first: the share of neurons whose strongest token is an action, with Wilson's interval.
        chance: the share of the vocabulary that is actions.
    """

    layer: int
    neurons: int
    silent: int
    actions: float
    words: float
    special: float
    first: Estimate
    chance: float


def share_of_actions(speech: Speech) -> list[Share]:
    """One share a layer, in order of depth."""
    actions, special = speech.vocabulary.action_tokens, speech.vocabulary.special_tokens
    found = []
    for layer in speech.layers:
        tokens = layer.tokens[layer.written]
        is_action = actions[tokens]
        of_actions = float(is_action.double().mean()) if len(tokens) else 0.0
        of_special = float(special[tokens].double().mean()) if len(tokens) else 0.0
        found.append(
            Share(
                layer=layer.layer,
                neurons=len(tokens),
                silent=len(layer.tokens) - len(tokens),
                actions=of_actions,
                words=(1 - of_actions - of_special) if len(tokens) else 0.0,
                special=of_special,
                first=rate([bool(first) for first in is_action[:, 0]]),
                chance=float(actions.double().mean()),
            )
        )
    return found
