"""Which settings are compared?  (empty so far)"""
