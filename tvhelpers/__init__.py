"""Turn a sentence into a fashion design, teach a diffusion model yours, and measure it honestly."""

__version__ = "0.1.0"
