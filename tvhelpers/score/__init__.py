"""How good are generated images?"""
