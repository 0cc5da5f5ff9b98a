"""How are fashion designs drawn from prompts, a model trained on garments, and both measured?"""

__version__ = "0.1.0"
