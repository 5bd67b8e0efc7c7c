"""The closed-form part: factors of known items, and of unknown ones by their texts."""
