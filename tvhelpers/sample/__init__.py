"""How are images drawn from prompts?"""
