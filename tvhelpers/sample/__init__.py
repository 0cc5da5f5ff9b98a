"""How are images generated from prompts?"""
