"""How is an adapter's file read, written, checked, blended and merged?"""
