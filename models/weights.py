"""The fine-tuned PyTorch weights of a version, loaded back."""

import torch
from safetensors.torch import load_file

from models.bundle import Bundle
from models.encoder import TextEncoder, load_language_model
from models.network import Start, TwoTowers

ENCODER_WEIGHTS = "training/encoder.safetensors"
TOWER_WEIGHTS = "training/towers.safetensors"


def load_encoder(bundle: Bundle) -> TextEncoder:
    """Return the fine-tuned text encoder of a version."""
    model, tokenizer = load_language_model(str(bundle.manifest["settings"]["encoder"]))
    model.load_state_dict(load_file(bundle.path(ENCODER_WEIGHTS)))
    return TextEncoder(model, tokenizer, int(bundle.manifest["max_tokens"])).eval()


def load_towers(bundle: Bundle) -> TwoTowers:
    """Return the towers of a version."""
    weights = load_file(bundle.path(TOWER_WEIGHTS))
    ranking, history = weights["ranking_part"], weights["history_part"]
    zeros = torch.zeros(history.shape[1]).numpy()
    start = Start(ranking.numpy(), history.numpy(), zeros + 1, zeros)
    towers = TwoTowers(int(bundle.manifest["text_dim"]), start, dropout=0.0)
    towers.load_state_dict(weights)
    return towers.eval()
