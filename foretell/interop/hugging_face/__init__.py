"""Import and export of Hugging Face model folders: config.json, safetensors, tokenizer files."""
