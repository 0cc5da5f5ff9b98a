"""How is any data set read, checked, split and converted?"""
