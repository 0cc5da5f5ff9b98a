"""How is an adapter (a file of LoRA weights) read, written, checked, blended and merged?"""
