"""LLaMA-Factory 0.9.5 imports torchaudio (`data/mm_plugin.py`), whose wheels need CUDA; text does not use it."""
