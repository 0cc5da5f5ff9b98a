"""Which settings are compared, what is measured of each, and what do the figures say?"""
