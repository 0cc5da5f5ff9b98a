"""How are a base, a CLIP and mini loaded, and how do model families differ?"""
