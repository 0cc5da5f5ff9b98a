"""How good are drawn images?"""
