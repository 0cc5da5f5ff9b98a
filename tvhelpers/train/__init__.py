"""How is a base or a CLIP trained, and how does a stopped training resume?"""
