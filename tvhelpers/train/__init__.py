"""How is a base or a CLIP trained, and how does a training go on after it was stopped?"""
