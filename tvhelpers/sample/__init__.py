"""How are images drawn from a `Request`?"""
