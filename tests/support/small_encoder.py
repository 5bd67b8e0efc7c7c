"""A language model that is trained in seconds: MiniLM's vocabulary, and two small layers."""

from pathlib import Path


def write_small_encoder(folder: Path) -> Path:
    """Write a BERT with random weights, always the same, and no dropout; return its folder."""
    # here: transformers takes seconds, which who only names the function need not wait for
    from transformers import BertConfig, BertModel, set_seed

    from models.network.loading import load_language_model

    model, tokenizer, _ = load_language_model("all-MiniLM-L6-v2")
    set_seed(0)
    config = BertConfig(
        vocab_size=model.config.vocab_size,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    BertModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
