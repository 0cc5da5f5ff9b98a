"""How are figures, notebooks' settings and the prompt studio shown?"""
