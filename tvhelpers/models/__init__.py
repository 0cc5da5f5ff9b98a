"""Where are a base, a CLIP and mini, and how do their families differ?"""
