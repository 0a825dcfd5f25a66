"""Folders of the Hugging Face world, in both directions: config.json, safetensors, tokenizer files."""
